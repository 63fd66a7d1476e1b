package demo

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// A chronicle is what the journal of a world tells about transfers.
type chronicle struct {
	lines    []string
	prepares map[requestKey]*smp.PrepareTransfer
	commits  map[payKey][]*smp.FinalizeTransfer // that the service has asked for
	rejected []*smp.RejectedTransfer            // to the service
	ends     []*smp.FinalizedTransfer           // of commits of the service
}

type requestKey struct {
	journal.Account
	request int64
}

// A payKey says who pays, and what for.
type payKey struct {
	journal.Account
	note string
}

func readChronicle(t *testing.T, path string) *chronicle {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &chronicle{prepares: map[requestKey]*smp.PrepareTransfer{}, commits: map[payKey][]*smp.FinalizeTransfer{}}
	for line := range strings.Lines(string(text)) {
		_, line, _ := strings.Cut(line, " ") // the time
		c.lines = append(c.lines, line)
		if kind, body, _ := strings.Cut(line, " "); kind == "heard" || kind == "issued" {
			if err := c.read([]byte(body)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	return c
}

// read takes a message, if it is about transfers of the service.
func (c *chronicle) read(body []byte) error {
	is := func(name string) bool { return strings.Contains(string(body), `"type":"`+name+`"`) }
	switch {
	case !strings.Contains(string(body), `"coordinator_type":"agent"`):
		return nil
	case is(smp.TypePrepareTransfer):
		var m smp.PrepareTransfer
		err := smp.Unmarshal(body, &m)
		c.prepares[requestKey{journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}, m.CoordinatorRequestID}] = &m
		return err
	case is(smp.TypeFinalizeTransfer):
		var m smp.FinalizeTransfer
		err := smp.Unmarshal(body, &m)
		if m.CommittedAmount > 0 {
			key := payKey{journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}, m.TransferNote}
			c.commits[key] = append(c.commits[key], &m)
		}
		return err
	case is(smp.TypeRejectedTransfer):
		var m smp.RejectedTransfer
		err := smp.Unmarshal(body, &m)
		c.rejected = append(c.rejected, &m)
		return err
	case is(smp.TypeFinalizedTransfer):
		var m smp.FinalizedTransfer
		err := smp.Unmarshal(body, &m)
		c.ends = append(c.ends, &m)
		return err
	}
	return nil
}

// requestOf returns the request that has led to a payment; nil if there is none.
func (c *chronicle) requestOf(key payKey) *smp.PrepareTransfer {
	for _, commit := range c.commits[key] {
		for _, end := range c.ends {
			if end.CommittedAmount > 0 && end.TransferID == commit.TransferID && end.DebtorID == commit.DebtorID &&
				end.CreditorID == commit.CreditorID {
				return c.prepares[requestKey{key.Account, commit.CoordinatorRequestID}]
			}
		}
	}
	return nil
}

// count tells how often something has happened to an account.
func (c *chronicle) count(kind journal.Kind, account journal.Account) int {
	n := 0
	for _, line := range c.lines {
		if strings.HasPrefix(line, fmt.Sprintf("%v %v:", kind, account)) {
			n++
		}
	}
	return n
}

// A ruling is what the solver has decided about an account.
type ruling struct {
	collector swpt.CreditorID
	amount    int64
}

// A sendingKey identifies a transfer between collectors.
type sendingKey struct {
	debtor   swpt.DebtorID
	from, to swpt.CreditorID
}

// A cleared is the result of a turn, and what it has been made of.
type cleared struct {
	turn        int32
	began       time.Time // when the collection began
	sales       map[journal.Account]int64
	wishes      map[journal.Account]int64
	takings     map[journal.Account]ruling
	givings     map[journal.Account]ruling
	sendings    map[sendingKey]int64
	minRate     map[swpt.DebtorID]float64 // what the service has to reckon with, percent per year, at most 0
	tradesOf    func(journal.Account) []journal.Trade
	allAccounts []journal.Account // of customers
}

// cleared reads the result of a turn.
func (s *scene) cleared(turn int) *cleared {
	s.t.Helper()
	w := s.world
	c := &cleared{
		turn: int32(turn), sales: map[journal.Account]int64{}, wishes: map[journal.Account]int64{},
		takings: map[journal.Account]ruling{}, givings: map[journal.Account]ruling{}, sendings: map[sendingKey]int64{},
		minRate:  map[swpt.DebtorID]float64{},
		tradesOf: func(a journal.Account) []journal.Trade { return w.Position(a).Trades },
	}
	for account := range s.accounts {
		c.allAccounts = append(c.allAccounts, account)
	}
	for i := range s.Scenario.Currencies {
		currency := &s.Scenario.Currencies[i]
		c.minRate[currency.Debtor] = min(0, currency.Rate)
	}
	pool, ctx := s.stores.solver.Pool(), s.t.Context()
	s.must(pool.QueryRow(ctx, "SELECT collection_started_at FROM turn WHERE turn_id = $1", turn).Scan(&c.began))
	each := func(query string, take func(a, b, c, amount int64)) {
		rows, err := pool.Query(ctx, query, turn)
		s.must(err)
		defer rows.Close()
		for rows.Next() {
			var a, b, c, amount int64
			s.must(rows.Scan(&a, &b, &c, &amount))
			take(a, b, c, amount)
		}
		s.must(rows.Err())
	}
	account := func(debtor, creditor int64) journal.Account {
		return journal.Account{Debtor: swpt.DebtorID(debtor), Creditor: swpt.CreditorID(creditor)}
	}
	each("SELECT debtor_id, creditor_id, 0::BIGINT, amount FROM demo_sell_offer WHERE turn_id = $1",
		func(debtor, creditor, _, amount int64) { c.sales[account(debtor, creditor)] = amount })
	each("SELECT debtor_id, creditor_id, 0::BIGINT, amount FROM demo_buy_offer WHERE turn_id = $1",
		func(debtor, creditor, _, amount int64) { c.wishes[account(debtor, creditor)] = amount })
	each("SELECT debtor_id, creditor_id, collector_id, amount FROM demo_creditor_taking WHERE turn_id = $1",
		func(debtor, creditor, collector, amount int64) {
			c.takings[account(debtor, creditor)] = ruling{swpt.CreditorID(collector), amount}
		})
	each("SELECT debtor_id, creditor_id, collector_id, amount FROM demo_creditor_giving WHERE turn_id = $1",
		func(debtor, creditor, collector, amount int64) {
			c.givings[account(debtor, creditor)] = ruling{swpt.CreditorID(collector), amount}
		})
	each("SELECT debtor_id, from_collector_id, to_collector_id, amount FROM demo_collector_sending WHERE turn_id = $1",
		func(debtor, from, to, amount int64) {
			c.sendings[sendingKey{swpt.DebtorID(debtor), swpt.CreditorID(from), swpt.CreditorID(to)}] = amount
		})
	return c
}

// cut is the part of each transfer that its collector keeps.
const cut = 1e-5

// trades returns how much an account has got, or given, in the turn, by what for.
func (c *cleared) trades(account journal.Account) map[smp.Note]int64 {
	trades := map[smp.Note]int64{}
	for _, trade := range c.tradesOf(account) {
		if trade.Note.TurnID == c.turn {
			trades[trade.Note] += trade.Amount
		}
	}
	return trades
}

// A flow is what has to pass, or has passed, through a collector account.
type flow struct {
	collect, send, receive, dispatch int64 // as the solver has decided
	collected, received              int64 // what has come
}

// audit wants that the tokens have moved as the solver has decided: sellers have given exactly that, and buyers and
// collectors have got exactly what is left of it by the formula of transfers.md, section 4.4, with the moment and the
// delay of the request that has been successful. Nobody else has traded.
func (c *cleared) audit(t *testing.T, chronicle *chronicle) {
	t.Helper()
	flows := c.flows()
	for account, flow := range flows {
		if flow.collect+flow.receive != flow.send+flow.dispatch {
			t.Errorf("turn %d, %v: the decisions are unbalanced: %+v", c.turn, account, flow)
		}
		if flow.collected != flow.collect {
			t.Errorf("turn %d, %v has collected %d of %d", c.turn, account, flow.collected, flow.collect)
		}
	}
	want := make(map[journal.Account]map[smp.Note]int64) // who gets or gives what, and what for
	expect := func(account journal.Account, note smp.Note, amount int64) {
		if want[account] == nil {
			want[account] = make(map[smp.Note]int64)
		}
		want[account][note] = amount
	}
	for account, taking := range c.takings {
		note := smp.Note{Kind: smp.Collecting, TurnID: c.turn, First: taking.collector, Second: account.Creditor}
		expect(account, note, -taking.amount)
		expect(journal.Account{Debtor: account.Debtor, Creditor: taking.collector}, note, taking.amount)
	}
	pay := func(debtor swpt.DebtorID, note smp.Note, nominal float64) {
		payer := journal.Account{Debtor: debtor, Creditor: note.First}
		payee := journal.Account{Debtor: debtor, Creditor: note.Second}
		request := chronicle.requestOf(payKey{payer, note.String()})
		if request == nil {
			t.Errorf("turn %d, %v: no request has led to the %v to %#x", c.turn, payer, note.Kind, uint64(note.Second))
			return
		}
		amount := c.left(debtor, nominal, request)
		got := c.trades(payee)[note]
		if exact := c.minRate[debtor] == 0; got != amount && (exact || got < amount-1 || got > amount+1) {
			t.Errorf("turn %d, %v has got %d by %v, want %d", c.turn, payee, got, note.Kind, amount)
		}
		expect(payer, note, -got)
		expect(payee, note, got)
	}
	for key, amount := range c.sendings {
		flow := flows[journal.Account{Debtor: key.debtor, Creditor: key.from}]
		available := max(0, flow.send-(flow.collect-flow.collected))
		note := smp.Note{Kind: smp.Sending, TurnID: c.turn, First: key.from, Second: key.to}
		pay(key.debtor, note, float64(amount)*(float64(available)/float64(flow.send)))
	}
	for account, giving := range c.givings {
		flow := flows[journal.Account{Debtor: account.Debtor, Creditor: giving.collector}]
		missing := flow.collect - flow.collected
		available := max(0, flow.dispatch-missing+min(flow.send, missing)-max(0, flow.receive-flow.received))
		note := smp.Note{Kind: smp.Dispatching, TurnID: c.turn, First: giving.collector, Second: account.Creditor}
		pay(account.Debtor, note, float64(giving.amount)*(float64(available)/float64(flow.dispatch)))
	}
	for _, account := range c.allAccounts {
		c.wantTrades(t, account, want[account])
	}
	for account := range flows {
		c.wantTrades(t, account, want[account])
	}
}

func (c *cleared) wantTrades(t *testing.T, account journal.Account, want map[smp.Note]int64) {
	t.Helper()
	got := c.trades(account)
	for note, amount := range want {
		if got[note] != amount {
			t.Errorf("turn %d, %v: %d by %v, want %d", c.turn, account, got[note], note.Kind, amount)
		}
	}
	if len(got) != len(want) {
		t.Errorf("turn %d, %v has traded %v, want %v", c.turn, account, got, want)
	}
}

// flows adds up what passes through each collector account.
func (c *cleared) flows() map[journal.Account]*flow {
	flows := make(map[journal.Account]*flow)
	of := func(debtor swpt.DebtorID, collector swpt.CreditorID) *flow {
		account := journal.Account{Debtor: debtor, Creditor: collector}
		if flows[account] == nil {
			flows[account] = &flow{}
		}
		return flows[account]
	}
	for account, taking := range c.takings {
		of(account.Debtor, taking.collector).collect += taking.amount
	}
	for account, giving := range c.givings {
		of(account.Debtor, giving.collector).dispatch += giving.amount
	}
	for key, amount := range c.sendings {
		of(key.debtor, key.from).send += amount
		of(key.debtor, key.to).receive += amount
	}
	for account, flow := range flows {
		for note, amount := range c.trades(account) {
			switch {
			case note.Kind == smp.Collecting:
				flow.collected += amount
			case note.Kind == smp.Sending && note.Second == account.Creditor:
				flow.received += amount
			}
		}
	}
	return flows
}

// left returns what is left of a nominal amount at the worst rate, if the transfer is made at the last moment that the
// request allows for (transfers.md, sections 4.4 and 5).
func (c *cleared) left(debtor swpt.DebtorID, nominal float64, request *smp.PrepareTransfer) int64 {
	const year, margin = 31557600, 600
	seconds := margin + request.TS.Sub(c.began).Seconds() + float64(request.MaxCommitDelay)
	remaining := math.Exp(math.Log(1+c.minRate[debtor]/100) / year * seconds)
	return int64(math.Floor(nominal * remaining * (1 - cut)))
}
