package demo

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// keptShare is the share of a payment that may stay with the collector that makes it. A hundredth of that is cut off each
// transfer; the rest is what negative interest could take, and the tokens move within minutes.
const keptShare = 1e-3

// results are the tables in which the solver says who gives, who gets, and which collector sends what to another one.
// There are three more, which say the same to other workers.
var results = []string{"creditor_taking", "creditor_giving", "collector_sending"}

// A movement is what the solver can decide, and what can happen then: a payment in a turn. Its note tells who pays whom,
// and what for.
type movement struct {
	debtor swpt.DebtorID
	note   smp.Note
}

// String names the movement in explanations.
func (m movement) String() string {
	return fmt.Sprintf("turn %d, currency %d: %v from %s to %s", m.note.TurnID, m.debtor, m.note.Kind,
		inHex(m.note.Sender()), inHex(m.note.Recipient()))
}

func inHex(creditor swpt.CreditorID) string { return fmt.Sprintf("%#x", uint64(creditor)) } //nolint:gosec // as in notes

func compareMovements(a, b movement) int {
	return cmp.Or(cmp.Compare(a.note.TurnID, b.note.TurnID), cmp.Compare(a.debtor, b.debtor),
		cmp.Compare(a.note.Kind, b.note.Kind), cmp.Compare(a.note.First, b.note.First), cmp.Compare(a.note.Second, b.note.Second))
}

// Decisions are what the solver has decided, and what has moved, in tokens.
type decisions struct {
	decided, moved map[movement]int64
	failed         map[movement]bool // sellers whose accounting authority has refused to commit what had been locked
	miscounted     []string          // turns of which the databases have not recorded as many decisions as the solver has made
	turns          int
}

// decisions compares what the solver has decided with what the world has seen. The databases have recorded the decisions
// in the transaction that published them, so there is no crash that makes a difference.
func (s *show) decisions(ctx context.Context) (*decisions, error) {
	d := &decisions{decided: map[movement]int64{}, moved: map[movement]int64{}, failed: map[movement]bool{}}
	if err := s.stores.decided(ctx, d); err != nil {
		return nil, fmt.Errorf("looking at what has been decided: %w", err)
	}
	for i := range s.Scenario.Customers {
		customer := &s.Scenario.Customers[i]
		for _, a := range customer.Accounts {
			d.count(s.world.Position(journal.Account{Debtor: a.Debtor, Creditor: customer.ID}).Trades)
		}
	}
	for account := range d.collectors() {
		d.count(s.world.Position(account).Trades)
	}
	for m := range d.decided {
		if m.note.Kind == smp.Collecting && s.world.HasFailed(m.debtor, m.note) {
			d.failed[m] = true
		}
	}
	return d, nil
}

// count takes note of the trades of an account. A payment counts for the customer who gives or gets it, and among
// collectors for the one who gets it: what is on its way has not arrived.
func (d *decisions) count(trades []journal.Trade) {
	for _, t := range trades {
		if (t.Amount < 0) == (t.Note.Kind == smp.Collecting) {
			d.moved[movement{t.Debtor, t.Note}] += max(t.Amount, -t.Amount)
		}
	}
}

// collectors returns the accounts that have been meant to send tokens to each other, or to get some from others.
func (d *decisions) collectors() map[journal.Account]bool {
	accounts := map[journal.Account]bool{}
	for m := range d.decided {
		accounts[journal.Account{Debtor: m.debtor, Creditor: m.note.First}] = true
		if m.note.Kind == smp.Sending {
			accounts[journal.Account{Debtor: m.debtor, Creditor: m.note.Second}] = true
		}
	}
	return accounts
}

// amounts adds up what each collector has to do, and what it could: the keys are movements without the other party. What
// is missing for no good reason is not missing here.
func (d *decisions) amounts() map[movement]settlement.Amounts {
	all := map[movement]settlement.Amounts{}
	for m, amount := range d.decided {
		key := collectorOf(m)
		a := all[key]
		switch m.note.Kind {
		case smp.Collecting:
			a.ToCollect += amount
			if !d.failed[m] {
				a.Collected += amount
			}
		case smp.Dispatching:
			a.ToDispatch += amount
		default: // sending
			a.ToSend += amount
		}
		all[key] = a
		if m.note.Kind == smp.Sending {
			key.note.First = m.note.Second
			to := all[key]
			to.ToReceive += amount
			to.Received += d.moved[m]
			all[key] = to
		}
	}
	return all
}

func collectorOf(m movement) movement {
	return movement{m.debtor, smp.Note{TurnID: m.note.TurnID, First: m.note.First}}
}

// verdict tells whether that has moved which had been decided, and nothing else (transfers.md, section 7, M3 and M4, and
// that nothing is lost):
//
//   - Sellers have given exactly what had been decided, or nothing if their accounting authority has refused to commit
//     what had been locked. There is no other excuse, and the databases do not lose anything.
//   - Collectors have sent on all but what they may keep: the cut, what negative interest could take, a part of a token;
//     and but for what such sellers have not given (section 3.2).
//   - Buyers have got all but that, too, and but for their share of what has been kept when tokens were sent to their
//     collector. They have been paid when the run ends, however long they were away.
func (d *decisions) verdict() journal.Verdict {
	v := journal.Verdict{
		Check:     "S1",
		Statement: "What the solver has decided has moved, but for what the service may keep, and nothing else.",
		Cases:     d.turns, Failures: len(d.miscounted),
		Examples: slices.Clone(d.miscounted),
	}
	amounts := d.amounts()
	all := maps.Clone(d.moved)
	maps.Copy(all, d.decided)
	for _, m := range slices.SortedFunc(maps.Keys(all), compareMovements) {
		decided, moved := d.decided[m], d.moved[m]
		least, collector := decided, amounts[collectorOf(m)]
		switch {
		case m.note.Kind == smp.Sending && decided > 0:
			least = leastOf(float64(decided) * settlement.Share(collector.AvailableToSend(), collector.ToSend))
		case m.note.Kind == smp.Dispatching && decided > 0:
			least = leastOf(float64(decided) * settlement.Share(collector.AvailableToDispatch(), collector.ToDispatch))
		case d.failed[m] && moved == 0:
			least = 0
		}
		v.Cases++
		if moved < least || moved > decided {
			v.Failures++
			v.Examples = append(v.Examples, fmt.Sprintf("%v: %d have been decided, %d have moved", m, decided, moved))
		}
	}
	const maxExamples = 5
	v.Examples = v.Examples[:min(len(v.Examples), maxExamples)]
	return v
}

// leastOf returns how much of an amount has to arrive. Parts of tokens do not.
func leastOf(amount float64) int64 { return int64(math.Floor(amount * (1 - keptShare))) }

// decided reads what the solver has decided.
func (s *stores) decided(ctx context.Context, d *decisions) error {
	for _, part := range []struct {
		kind  smp.NoteKind
		query string
	}{
		{smp.Collecting, "SELECT turn_id, debtor_id, collector_id, creditor_id, amount FROM demo_creditor_taking"},
		{smp.Dispatching, "SELECT turn_id, debtor_id, collector_id, creditor_id, amount FROM demo_creditor_giving"},
		{smp.Sending, "SELECT turn_id, debtor_id, from_collector_id, to_collector_id, amount FROM demo_collector_sending"},
	} {
		rows, err := s.solver.Pool().Query(ctx, part.query)
		if err != nil {
			return err
		}
		m, amount := movement{note: smp.Note{Kind: part.kind}}, int64(0)
		_, err = pgx.ForEachRow(rows, []any{&m.note.TurnID, &m.debtor, &m.note.First, &m.note.Second, &amount}, func() error {
			d.decided[m] += amount
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.countDecisions(ctx, d)
}

// countDecisions compares the number of decisions with what the solver says about it.
func (s *stores) countDecisions(ctx context.Context, d *decisions) error {
	counts := make([]string, len(results))
	for i, table := range results {
		counts[i] = "(SELECT count(*) FROM demo_" + table + " WHERE turn_id = summary.turn_id)"
	}
	rows, err := s.solver.Pool().Query(ctx, "SELECT turn_id, takings + givings + transfers, "+strings.Join(counts, " + ")+
		" FROM trade_turn_summary AS summary ORDER BY turn_id")
	if err != nil {
		return err
	}
	var turn, made, recorded int
	_, err = pgx.ForEachRow(rows, []any{&turn, &made, &recorded}, func() error {
		d.turns++
		if made != recorded {
			d.miscounted = append(d.miscounted, fmt.Sprintf("turn %d: %d decisions have been made, and %d been written",
				turn, made, recorded))
		}
		return nil
	})
	return err
}
