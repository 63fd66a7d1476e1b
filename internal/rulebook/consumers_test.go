package rulebook_test

import (
	"maps"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/solverdb/solverdbtest"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// How many messages a transaction handles, and how many transactions there are at a time, makes no difference for what
// everybody has in the end.
func TestConsumersDoNotMatter(t *testing.T) {
	t.Parallel()
	solver := solverdbtest.New(t)
	nodes := []*node{newNode(t, "0.#"), newNode(t, "1.#")}
	var want map[accountKey]int64
	for _, c := range []struct{ consumers, batchSize int }{{1, 1}, {1, 500}, {4, 1}, {4, 500}} {
		m := newMarket(t, nodes, solver)
		m.trade(c.consumers, c.batchSize)
		m.checkOutcome()
		m.checkEnd()
		if want == nil {
			want = m.balances()
		}
		if got := m.balances(); !maps.Equal(got, want) {
			t.Errorf("%+v: in the end there are\n%v\nwant\n%v", c, got, want)
		}
	}
}

// A market is a world in which nothing depends on chance, nor on time. Everybody is told everything twice.
type market struct {
	*world
	mu      sync.Mutex // of the world
	changed *sync.Cond // there is mail, or somebody has finished
	busy    int        // consumers at work
}

const (
	marketTurn   = 1
	marketDebtor = swpt.DebtorID(100)
	traders      = 8 // sellers, and as many buyers. Every fourth seller cannot pay
	tradedAmount = 1000
)

// All sellers pay to one collector. Another one, which pays half of the buyers, cannot be paid by them.
const (
	openCollector   = firstCollector
	closedCollector = firstCollector + 1
)

func newMarket(tb testing.TB, nodes []*node, solver *solverdb.DB) *market {
	tb.Helper()
	m := &market{world: newWorld(tb, tb, nodes, solver, true)}
	m.changed = sync.NewCond(&m.mu)
	m.faults.areFlat = true
	m.say = m.postTwice
	m.failure = func(isCommit bool, sender *account) string {
		if isCommit && sender.creditor >= firstCustomer && sender.creditor%4 == 3 {
			return "SENDER_IS_UNREACHABLE"
		}
		return ""
	}
	m.committed = func(_ *hold, f *smp.FinalizeTransfer) {
		note, err := smp.ParseNote(f.TransferNote)
		if key := (tradeKey{note, f.DebtorID}); err != nil || m.trades[key] != 0 {
			tb.Errorf("%+v is paid twice, or nobody knows for what: %v", key, err)
		} else {
			m.trades[key] = f.CommittedAmount
		}
	}
	m.debtors = []swpt.DebtorID{marketDebtor}
	m.addCollector(accountKey{marketDebtor, openCollector}, 0, 0)
	m.addCollector(accountKey{marketDebtor, closedCollector}, 0, 0)
	for i := range swpt.CreditorID(2 * traders) {
		m.addCustomer(accountKey{marketDebtor, firstCustomer + i}, 2*tradedAmount)
	}
	m.totals[marketDebtor] = m.total(marketDebtor)
	if _, err := solver.Pool().Exec(tb.Context(), `UPDATE collector_account SET status = 3 WHERE collector_id = $1`,
		closedCollector); err != nil {
		tb.Fatal(err)
	}
	return m
}

func (m *market) postTwice(message smp.Message) {
	m.post(message)
	m.post(message)
}

// trade has a turn take place, from the offers to the end.
func (m *market) trade(consumers, batchSize int) {
	m.beginTurn(marketTurn, 1)
	d := newDecision(marketTurn, m.collectors)
	for i := range swpt.CreditorID(2 * traders) {
		key := accountKey{marketDebtor, firstCustomer + i}
		amount := int64(tradedAmount)
		switch {
		case i < traders:
			amount = -amount
			d.takings[key] = share{tradedAmount, openCollector}
		case i%2 == 0:
			d.givings[key] = share{tradedAmount, openCollector}
		default:
			d.givings[key] = share{tradedAmount, closedCollector}
		}
		m.say(&smp.CandidateOffer{
			TurnID: marketTurn, DebtorID: marketDebtor, CreditorID: key.creditor, Amount: amount,
			AccountCreationDate: accountsCreated, TS: m.clock,
		})
	}
	d.flows[flow{marketDebtor, openCollector, closedCollector}] = traders / 2 * tradedAmount
	m.consume(consumers, batchSize)
	m.clock = m.closes
	m.mirrorAll()
	m.publish(d)
	m.mirror(m.nodes[0])
	m.consume(consumers, batchSize) // the second worker does not know of the decision
	m.mirrorAll()
	for range 20 {
		m.consume(consumers, batchSize)
		if len(m.left()) == 0 {
			return
		}
		for _, n := range m.nodes {
			m.roll(n)
		}
	}
	m.tb.Fatalf("left are %v", m.left())
}

// mirrorAll and roll do not check what they see, but pass on what the workers say.

func (m *market) mirrorAll() {
	for _, n := range m.nodes {
		m.mirror(n)
	}
}

func (m *market) mirror(n *node) {
	m.must(n.mirror.RunOnce(m.tb.Context()))
	m.must(m.hear(n))
}

func (m *market) roll(n *node) {
	m.must(n.roller.RunOnce(m.tb.Context()))
	m.must(m.hear(n))
}

func (m *market) must(err error) {
	if err != nil {
		m.tb.Fatal(err)
	}
}

// hear passes on what a worker has said. The authority answers at once.
func (m *market) hear(n *node) error {
	said, err := n.said(m.tb.Context())
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range said {
		switch message.(type) {
		case *smp.PrepareTransfer, *smp.FinalizeTransfer:
			m.handle(message)
		default:
			m.say(message)
		}
	}
	for len(m.inFlight) > 0 {
		m.credit(0)
	}
	m.changed.Broadcast()
	return err
}

// consume has so many consumers for each worker handle everything.
func (m *market) consume(consumers, batchSize int) {
	var group errgroup.Group
	for number, n := range m.nodes {
		for range consumers {
			group.Go(func() error {
				var failure error
				for batch := m.next(number, batchSize); len(batch) > 0; batch = m.next(number, batchSize) {
					failure = n.handle(m.tb.Context(), batch, false)
					if failure == nil {
						failure = m.hear(n)
					}
					m.finish()
					if failure != nil {
						break
					}
				}
				return failure
			})
		}
	}
	m.must(group.Wait())
}

// next waits for mail for a worker. It returns none when everything has been handled.
func (m *market) next(number, atMost int) []smp.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.mail[number]) == 0 {
		if m.busy == 0 && len(m.mail[0])+len(m.mail[1]) == 0 {
			return nil
		}
		m.changed.Wait()
	}
	count := min(atMost, len(m.mail[number]))
	batch := m.mail[number][:count:count]
	m.mail[number] = m.mail[number][count:]
	m.busy++
	return batch
}

func (m *market) finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	m.changed.Broadcast()
}

// balances returns what everybody has.
func (m *market) balances() map[accountKey]int64 {
	balances := map[accountKey]int64{}
	for key, acc := range m.accounts {
		balances[key] = acc.principal
	}
	return balances
}
