package attempt_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A crowd is messages that several goroutines handle at the same time, and peers who answer to what is sent.
type crowd struct {
	*bench

	mu           sync.Mutex
	messages     []smp.Message
	lastTransfer int64
	committed    map[int64]bool          // prepared transfers that are gone
	paid         map[swpt.CreditorID]int // how often
}

// Four goroutines handle overlapping batches, while a trigger runs. In the end, everybody has been paid once.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	const attempts = 30
	b := newBench(t)
	b.account(t, collector, "X", -5)
	c := &crowd{bench: b, committed: map[int64]bool{}, paid: map[swpt.CreditorID]int{}}
	var rows []workerdb.TransferAttempt
	for range attempts {
		rows = append(rows, until(newAttempt(), time.Now()))
	}
	rows = forCreditors(rows...)
	b.insert(t, rows...)
	for i := range rows {
		b.exec(t, `INSERT INTO trading_policy (creditor_id, debtor_id, account_id, latest_ledger_update_id)
			VALUES ($1, $2, 'B', 1)`, i, int64(debtor))
	}
	b.trigger.Burst = 5
	stop := b.start(t, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var group errgroup.Group
	for i := range uint64(4) {
		random := rand.New(rand.NewPCG(i, 1))
		group.Go(func() error {
			for ctx.Err() == nil && b.count(t, "transfer_attempt") > 0 {
				if err := c.handleSome(ctx, random); err != nil {
					return err
				}
				c.answer(t)
			}
			return ctx.Err()
		})
	}
	if err := errors.Join(group.Wait(), stop()); err != nil {
		t.Fatalf("%v; left are\n%s", err, describeAll(b.stored(t)))
	}
	for i := range rows {
		if n := c.paid[rows[i].CreditorID]; n != 1 {
			t.Errorf("creditor %d has been paid %d times", i, n)
		}
	}
}

// handleSome handles some messages, of which some will be handled again, and others are being handled by somebody else.
func (c *crowd) handleSome(ctx context.Context, random *rand.Rand) error {
	var batch []smp.Message
	c.mu.Lock()
	random.Shuffle(len(c.messages), func(i, j int) { c.messages[i], c.messages[j] = c.messages[j], c.messages[i] })
	batch = append(batch, c.messages[:min(len(c.messages), 1+random.IntN(8))]...)
	c.mu.Unlock()
	err := c.tryToHandle(ctx, time.Now().Truncate(time.Microsecond), batch...)
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok && failure.Code == "40001" {
		return nil // all repetitions have lost, too
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = slices.DeleteFunc(c.messages, func(m smp.Message) bool {
		return slices.Contains(batch, m) && random.IntN(2) == 0
	})
	return nil
}

// answer takes what has been sent, and does what accounting authorities do, who handle every copy of a PrepareTransfer
// for itself.
func (c *crowd) answer(tb testing.TB) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.sent(tb) {
		switch m := m.(type) {
		case *smp.PrepareTransfer:
			for range 2 {
				c.lastTransfer++
				c.messages = append(c.messages, preparedTransfer(m.CoordinatorRequestID, c.lastTransfer))
			}
		case *smp.FinalizeTransfer:
			if m.CommittedAmount == 0 || c.committed[m.TransferID] {
				continue
			}
			c.committed[m.TransferID] = true
			note, err := smp.ParseNote(m.TransferNote)
			if err != nil {
				tb.Error(err)
			}
			c.paid[note.Second]++
			c.messages = append(c.messages,
				finalizedTransfer(m.CoordinatorRequestID, m.TransferID, m.CommittedAmount, "OK"))
		default:
			c.messages = append(c.messages, m)
		}
	}
}
