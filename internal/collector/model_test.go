package collector_test

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A model is a second, plain reading of what the chapter says about a single message.
type model struct {
	now      time.Time
	accounts map[swpt.CreditorID]*modelAccount
	sent     []string
}

type modelAccount struct {
	needed bool
	stored *smp.AccountUpdate // with the account ID and the heartbeat that are stored
	rates  map[time.Time]float64
}

func (m *model) update(u *smp.AccountUpdate) {
	a := m.accounts[u.CreditorID]
	if a.needed {
		m.rate(a, u)
	}
	if m.now.Sub(u.TS) > time.Duration(u.TTL)*time.Second {
		return
	}
	discarded := u.ConfigFlags == 1 && u.NegligibleAmount == 1e30
	if !a.needed && u.CreditorID >= pool.First && u.CreditorID <= pool.Last && !discarded {
		m.sent = append(m.sent, fmt.Sprintf("ConfigureAccount %d %d 1 1000000000000000000000000000000", u.CreditorID, u.DebtorID))
	}
	switch old := a.stored; {
	case old == nil && !a.needed:
	case old == nil:
		a.stored = new(*u)
		a.stored.TS = earliest(u.TS, m.now)
		m.tell(a, u, u.AccountID != "", true)
	default:
		heartbeat := old.TS
		if u.TS.After(old.TS) {
			heartbeat = earliest(u.TS, m.now)
		}
		order := compare(u, old)
		if order > 0 {
			a.stored = new(*u)
			if u.CreationDate == old.CreationDate && old.AccountID != "" {
				a.stored.AccountID = old.AccountID
			}
			isNew := u.AccountID != "" && (old.AccountID == "" || u.CreationDate > old.CreationDate && u.AccountID != old.AccountID)
			m.tell(a, u, isNew, u.DebtorInfoIRI != old.DebtorInfoIRI)
		} else if order == 0 && u.LastChangeSeqnum == old.LastChangeSeqnum {
			m.tell(a, u, false, false)
		}
		a.stored.TS = heartbeat
	}
}

// compare tells whether an update is newer (1), older (-1), or neither.
func compare(u, old *smp.AccountUpdate) int {
	if u.CreationDate != old.CreationDate {
		return int(u.CreationDate - old.CreationDate)
	}
	if !u.LastChangeTS.Equal(old.LastChangeTS) {
		return u.LastChangeTS.Compare(old.LastChangeTS)
	}
	switch distance := uint32(u.LastChangeSeqnum) - uint32(old.LastChangeSeqnum); {
	case distance == 0, distance == 1<<31:
		return 0
	case distance < 1<<31:
		return 1
	default:
		return -1
	}
}

func (m *model) tell(a *modelAccount, u *smp.AccountUpdate, activate, refetch bool) {
	if activate {
		m.sent = append(m.sent, fmt.Sprintf("ActivateCollector %d %d %s", u.CreditorID, u.DebtorID, u.AccountID))
	}
	legible := u.DemurrageRate >= -50 && u.CommitPeriod >= 30*86400 && u.TransferNoteMaxBytes >= 80
	if a.needed && legible && u.AccountID != "" && u.DebtorInfoIRI != "" {
		m.sent = append(m.sent, fmt.Sprintf("DiscoverDebtor %d %s %t", u.DebtorID, u.DebtorInfoIRI, refetch))
	}
}

// rate adds to a history, and compacts it.
func (m *model) rate(a *modelAccount, u *smp.AccountUpdate) {
	if _, known := a.rates[u.LastInterestRateChangeTS]; known {
		return
	}
	a.rates[u.LastInterestRateChangeTS] = u.InterestRate
	lowest, older := math.Inf(1), false
	for _, at := range a.instants() {
		rate := a.rates[at]
		if older || rate >= lowest {
			delete(a.rates, at)
		} else {
			lowest = rate
		}
		older = older || at.Before(m.now.Add(-220*day))
	}
}

// instants returns when the rates in the history came into force, the latest first.
func (a *modelAccount) instants() (instants []time.Time) {
	for at := range a.rates {
		instants = append(instants, at)
	}
	slices.SortFunc(instants, func(a, b time.Time) int { return b.Compare(a) })
	return instants
}

func (m *model) purge(p *smp.AccountPurge) {
	a := m.accounts[p.CreditorID]
	if a.stored != nil && a.stored.CreationDate <= p.CreationDate {
		a.stored = nil
	}
	if line := fmt.Sprintf("ConfigureAccount %d %d 0 1000000000000000000000000000000", p.CreditorID, p.DebtorID); a.needed &&
		a.stored == nil && !slices.Contains(m.sent, line) { // once in a batch is enough
		m.sent = append(m.sent, line)
	}
}

func (m *model) records() (records, rates []string) {
	for id := range m.accounts {
		a := m.accounts[id]
		if u := a.stored; u != nil {
			records = append(records, fmt.Sprintf("%d %s %d %d %d %q %q %d", id, u.CreationDate, u.LastChangeTS.Unix(),
				u.LastChangeSeqnum, u.Principal, u.AccountID, u.DebtorInfoIRI, u.TS.Unix()))
		}
		for at, rate := range a.rates {
			rates = append(rates, fmt.Sprintf("%d %d %v", id, at.Unix(), rate))
		}
	}
	slices.Sort(records)
	slices.Sort(rates)
	return records, rates
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// drawMessages draws a batch of updates and purges of a few accounts, in which much is repeated, and nothing in order.
func drawMessages(of swpt.DebtorID, at time.Time) *rapid.Generator[[]smp.Message] {
	creditors := rapid.SampledFrom([]swpt.CreditorID{pool.First, pool.First + 1, pool.Last, pool.Last + 1, -5})
	seqnums := rapid.SampledFrom([]int32{0, 1, 2, math.MaxInt32, math.MinInt32, math.MinInt32 + 1, -1})
	serial := int64(0) // tells updates apart that are the same otherwise
	message := rapid.Custom(func(rt *rapid.T) smp.Message {
		creditor, date := creditors.Draw(rt, "creditor"), smp.Date(rapid.IntRange(20000, 20002).Draw(rt, "date"))
		if rapid.IntRange(0, 9).Draw(rt, "kind") == 0 {
			return &smp.AccountPurge{CreditorID: creditor, DebtorID: of, CreationDate: date, TS: at}
		}
		serial++
		return update(func(m *smp.AccountUpdate) {
			m.CreditorID, m.DebtorID, m.CreationDate, m.Principal = creditor, of, date, serial
			m.LastChangeTS = now.Add(time.Duration(rapid.IntRange(-1, 0).Draw(rt, "change")) * time.Second)
			m.LastChangeSeqnum = seqnums.Draw(rt, "seqnum")
			m.AccountID = rapid.SampledFrom([]string{"", "7", "8"}).Draw(rt, "account ID")
			m.DebtorInfoIRI = rapid.SampledFrom([]string{"", "https://a/", "https://b/"}).Draw(rt, "IRI")
			m.LastInterestRateChangeTS = now.Add(-time.Duration(rapid.IntRange(0, 250).Draw(rt, "rate's age")) * day)
			m.InterestRate = float64(rapid.IntRange(-5, 5).Draw(rt, "rate"))
			m.ConfigFlags = int32(rapid.IntRange(0, 1).Draw(rt, "flags"))
			m.DemurrageRate = float64(rapid.IntRange(-51, -50).Draw(rt, "demurrage"))
			m.TS = at.Add(time.Duration(rapid.IntRange(-9, 1).Draw(rt, "age")) * time.Hour)
			m.TTL = 7 * 3600
		})
	})
	return rapid.Custom(func(rt *rapid.T) []smp.Message {
		messages := rapid.SliceOfN(message, 1, 8).Draw(rt, "messages")
		repeated := rapid.SliceOfN(rapid.SampledFrom(messages), 0, 6).Draw(rt, "repeated")
		return append(messages, repeated...)
	})
}

// However messages are divided into batches, repeated and mixed, the outcome is that of handling them one by one. What
// is not needed leaves no trace, and the ID of an account stays, unless there is another account.
func TestBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var debtors atomic.Int64 // each round has a debtor of its own in the one database
	rapid.Check(t, func(rt *rapid.T) {
		round := swpt.DebtorID(debtors.Add(1))
		m := &model{accounts: map[swpt.CreditorID]*modelAccount{}}
		for _, id := range []swpt.CreditorID{pool.First, pool.First + 1, pool.Last, pool.Last + 1, -5} {
			a := &modelAccount{needed: rapid.Bool().Draw(rt, "needed"), rates: map[time.Time]float64{}}
			if m.accounts[id] = a; a.needed {
				exec(t, w.worker.DB, "INSERT INTO needed_worker_account VALUES ($1, $2, $3)", id, round, now)
			}
		}
		for n := range rapid.IntRange(1, 3).Draw(rt, "batches") {
			w.now = now.Add(time.Duration(n) * 2 * time.Hour)
			batch := drawMessages(round, w.now).Draw(rt, "batch")
			w.handle(t, slices.Clone(batch)...)
			m.now, m.sent = w.now, nil
			for _, message := range batch {
				if u, ok := message.(*smp.AccountUpdate); ok {
					m.update(u)
				}
			}
			for _, message := range batch {
				if p, ok := message.(*smp.AccountPurge); ok {
					m.purge(p)
				}
			}
			slices.Sort(m.sent)
			if sent := w.sent(t); !slices.Equal(sent, m.sent) {
				rt.Fatalf("sent are\n%q\nwant\n%q", sent, m.sent)
			}
			wantRecords, wantRates := m.records()
			records := lines(t, w.worker.DB, `SELECT format('%s %s %s %s %s "%s" "%s" %s', creditor_id, creation_date,
					extract(epoch FROM last_change_ts)::BIGINT, last_change_seqnum, principal, account_id, debtor_info_iri,
					extract(epoch FROM last_heartbeat_ts)::BIGINT)
				FROM worker_account WHERE debtor_id = $1`, round)
			rates := lines(t, w.worker.DB, `SELECT format('%s %s %s', creditor_id, extract(epoch FROM change_ts)::BIGINT,
				interest_rate) FROM interest_rate_change WHERE debtor_id = $1`, round)
			slices.Sort(records)
			slices.Sort(rates)
			if !slices.Equal(records, wantRecords) {
				rt.Fatalf("stored are\n%q\nwant\n%q", records, wantRecords)
			}
			if !slices.Equal(rates, wantRates) {
				rt.Fatalf("the rates are\n%q\nwant\n%q", rates, wantRates)
			}
		}
	})
}
