package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func TestBurstsOfAnySize(t *testing.T) {
	t.Parallel()
	for _, burst := range []int{1, 7, 50, 51, 10000} {
		t.Run(strconv.Itoa(burst), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.appendAll(t, 50)
			config := w.config()
			config.Bursts = map[string]int{smp.TypeReviseAccountLock: burst}
			flush(t, config)
			w.mustHold(t, 0)
			w.mustReceive(t, 50, false)
		})
	}
}

// Several flushers, of one process or of several, share the work.
func TestSeveralFlushers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ flushers, processes int }{{2, 1}, {1, 2}, {2, 2}, {4, 1}} {
		t.Run(fmt.Sprintf("%d with %d", test.flushers, test.processes), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const messages = 5000
			w.appendAll(t, messages)
			config := w.config()
			config.Bursts = map[string]int{smp.TypeReviseAccountLock: 100}
			config.Processes = test.processes
			var group errgroup.Group
			for range test.flushers {
				flusher := newFlusher(t, config)
				group.Go(func() error { return flusher.RunOnce(t.Context()) })
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			w.mustHold(t, 0)
			w.mustReceive(t, messages, false)
			families, err := w.metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				for _, metric := range family.Metric {
					if family.GetName() == "trade_database_transaction_retries_total" && metric.GetCounter().GetValue() > 0 {
						t.Errorf("flushers got into each other's way: %v", metric)
					}
				}
			}
		})
	}
}

// A flusher of certain types sends nothing else.
func TestTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bind(t, authorityQueue, "#", broker.CreditorsOut)
	for _, l := range letters {
		w.append(t, l.message)
	}
	left := len(letters)
	for name, l := range letters {
		config := w.config()
		config.Types = []string{name}
		flush(t, config)
		left--
		w.mustHold(t, left)
		queue := workerQueue
		if l.letter.exchange == broker.CreditorsOut {
			queue = authorityQueue
		}
		if got := consume(t, w.channel, queue); len(got) != 1 || got[0].Type != name {
			t.Errorf("%s: %d messages were sent: %+v", name, len(got), got)
		}
	}
}

// Who is not connected gets no PrepareTransfer, now or later. All that must not get lost waits, and holds up nobody.
func TestUnroutableMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.channel.QueueUnbind(workerQueue, "#", broker.ToTrade, nil); err != nil {
		t.Fatal(err)
	}
	w.bind(t, workerQueue, shard.KeyOf[int64](7).RoutingKey(), broker.ToTrade)
	config := w.config()
	config.FirstPause = time.Millisecond
	config.Bursts = map[string]int{smp.TypeFinalizeTransfer: 2, smp.TypeReviseAccountLock: 1, smp.TypePrepareTransfer: 1}
	w.append(t,
		finalize(unconnected, 1), finalize(unconnected, 2), finalize(unconnected, 3), finalize(connected, 4),
		prepare(unconnected, 5), prepare(connected, 6),
		&smp.ConfigureAccount{DebtorID: unconnected, CreditorID: 8, TS: sentAt},
		numbered(9), numbered(10), numbered(7), numbered(11),
	)
	flush(t, config)
	w.mustHold(t, 6)
	if got := consume(t, w.channel, workerQueue); len(got) != 1 {
		t.Errorf("%d messages reached the worker, want 1", len(got))
	}
	if got := consume(t, w.channel, authorityQueue); len(got) != 2 {
		t.Errorf("%d messages reached the authority, want 2", len(got))
	}
	if log := w.log.String(); !strings.Contains(log, "FinalizeTransfer") || !strings.Contains(log, "ReviseAccountLock") {
		t.Errorf("the log says:\n%s", log)
	}

	// Messages that come later pass those that wait.
	w.append(t, finalize(connected, 20), numbered(7))
	flush(t, config)
	w.mustHold(t, 6)
	if got := len(consume(t, w.channel, workerQueue)) + len(consume(t, w.channel, authorityQueue)); got != 2 {
		t.Errorf("%d later messages were sent, want 2", got)
	}

	// When there is a queue, they are sent by themselves.
	w.bind(t, workerQueue, "#", broker.ToTrade)
	w.bind(t, authorityQueue, "#", broker.CreditorsOut)
	config.Period = 10 * time.Millisecond
	run(t, config)
	w.eventuallyHolds(t, 0)
	if got := len(consume(t, w.channel, workerQueue)); got != 3 {
		t.Errorf("%d messages reached the worker, want 3", got)
	}
	if got := len(consume(t, w.channel, authorityQueue)); got != 3 {
		t.Errorf("%d messages reached the authority, want 3", got)
	}
}

// What has been returned rests for a while, whoever may flush.
func TestReturnedMessagesRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := 0
	config := w.config()
	config.FirstPause = time.Hour // 10 minutes are the most
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return interceptor{newPublisher(w.brokerURL), func(outcomes []broker.Outcome, err error) ([]broker.Outcome, error) {
			sent += len(outcomes)
			return outcomes, err
		}}
	}
	config.Types = []string{smp.TypeFinalizeTransfer}
	w.append(t, finalize(unconnected, 1))
	for creditor := range swpt.CreditorID(3) {
		w.append(t, finalize(connected, creditor))
		flush(t, config)
	}
	if sent != 4 {
		t.Errorf("4 messages were sent %d times, want once each", sent)
	}
	const inTenMinutes = `SELECT count(*) FROM outbox WHERE returns = 1
		AND retry_at BETWEEN now() + INTERVAL '9 minutes' AND now() + INTERVAL '10 minutes'`
	var found int
	if err := w.db.Pool().QueryRow(t.Context(), inTenMinutes).Scan(&found); err != nil || found != 1 {
		t.Errorf("the record is not as it should be (%v)", err)
	}
}

// Who may send a message to an accounting authority, and what becomes of those of others.
func TestShardCheck(t *testing.T) {
	t.Parallel()
	realm, err := shard.ParseWorkerRealm("1.0.#")
	if err != nil {
		t.Fatal(err)
	}
	const own, sibling, outsider = swpt.CreditorID(5), swpt.CreditorID(1), swpt.CreditorID(3)
	for id, bits := range map[swpt.CreditorID]string{own: "1.0.", sibling: "1.1.", outsider: "0."} {
		if key := shard.KeyOf(id).RoutingKey(); !strings.HasPrefix(key, bits) {
			t.Fatalf("the key of %d is %s", id, key)
		}
	}
	for _, test := range []struct {
		name          string
		creditor      swpt.CreditorID
		deleteParents bool
		sent, kept    int
	}{
		{"own", own, true, 3, 0},
		{"own, deleting nothing", own, false, 3, 0},
		{"sibling's", sibling, true, 0, 0},
		{"sibling's, deleting nothing", sibling, false, 0, 3},
		{"outsider's", outsider, true, 0, 3},
		{"outsider's, deleting nothing", outsider, false, 0, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			config := w.config()
			config.Realm = realm
			config.DeleteParentRecords = test.deleteParents
			config.Bursts = map[string]int{smp.TypeFinalizeTransfer: 1}
			w.append(t,
				finalize(connected, test.creditor), prepare(connected, test.creditor),
				&smp.ConfigureAccount{DebtorID: connected, CreditorID: test.creditor, TS: sentAt},
				// Those around it are sent in any case. Messages between workers may come from anywhere.
				finalize(connected, own), prepare(connected, own),
				&smp.ReviseAccountLock{CreditorID: test.creditor, DebtorID: 1, TS: sentAt},
				&smp.LockAbandoned{CreditorID: outsider, DebtorID: 1, TS: sentAt},
			)
			err := newFlusher(t, config).RunOnce(t.Context())
			if errors.Is(err, outbox.ErrForeignRecord) != (test.kept > 0) || err != nil && test.kept == 0 {
				t.Errorf("the error is %v", err)
			}
			w.mustHold(t, test.kept)
			if got := len(consume(t, w.channel, authorityQueue)); got != test.sent+2 {
				t.Errorf("%d messages reached the authority, want %d", got, test.sent+2)
			}
			if got := len(consume(t, w.channel, workerQueue)); got != 2 {
				t.Errorf("%d messages reached the worker, want 2", got)
			}
		})
	}
}

// Messages that may not be sent from here, and have been returned before, do not hold up others, or the end of the pass.
func TestForeignMessagesThatHaveBeenReturned(t *testing.T) {
	t.Parallel()
	realm, err := shard.ParseWorkerRealm("1.0.#")
	if err != nil {
		t.Fatal(err)
	}
	const own, outsider = swpt.CreditorID(5), swpt.CreditorID(3) // see TestShardCheck
	for _, burst := range []int{1, 2, 3, 4} {
		t.Run(strconv.Itoa(burst), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(t, finalize(connected, own), finalize(connected, outsider), finalize(connected, outsider), finalize(connected, own))
			w.exec(t, `UPDATE outbox SET returns = 1, retry_at = now() - INTERVAL '1 hour' + id * INTERVAL '1 second'`)
			w.append(t, prepare(connected, own), finalize(connected, own), numbered(1))
			config := w.config()
			config.Realm = realm
			config.Bursts = map[string]int{smp.TypeFinalizeTransfer: burst}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := newFlusher(t, config).RunOnce(ctx); !errors.Is(err, outbox.ErrForeignRecord) {
				t.Errorf("the error is %v", err)
			}
			w.mustHold(t, 2)
		})
	}
}

// A fakePublisher has its own ideas.
type fakePublisher struct {
	connect func(context.Context) error
	publish func(context.Context, []broker.Publishing) ([]broker.Outcome, error)
}

func (p fakePublisher) Connect(ctx context.Context) error {
	if p.connect == nil {
		return nil
	}
	return p.connect(ctx)
}

func (p fakePublisher) PublishAll(ctx context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
	return p.publish(ctx, batch)
}

func (fakePublisher) Close() {}

// outcomes returns a publisher with which each batch has the same outcome.
func outcomes(outcomes []broker.Outcome, err error) func(smp.Class) outbox.Publisher {
	return func(smp.Class) outbox.Publisher {
		return fakePublisher{publish: func(_ context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
			return outcomes[:len(batch)], err
		}}
	}
}

// The broker refuses a message, or does not say what has become of it: then the flusher fails, but the others are gone.
func TestFailuresKeepOnlyWhatFailed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		outcomes []broker.Outcome
		err      error
		want     error
	}{
		"nacked":  {[]broker.Outcome{broker.Confirmed, broker.Nacked, broker.Returned, broker.Confirmed}, nil, outbox.ErrNacked},
		"silence": {[]broker.Outcome{broker.Confirmed, broker.Unknown, broker.Returned, broker.Confirmed}, broker.ErrConfirmTimeout, broker.ErrConfirmTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDatabase(t)
			w.append(t, finalize(1, 1), finalize(1, 2), finalize(1, 3), finalize(1, 4))
			config := w.config()
			config.NewPublisher = outcomes(test.outcomes, test.err)
			if err := newFlusher(t, config).RunOnce(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("the error is %v", err)
			}
			var left string
			err := w.db.Pool().QueryRow(t.Context(), `SELECT string_agg(creditor_id || CASE WHEN retry_at IS NULL
				THEN '' ELSE ' rests' END, ', ' ORDER BY id) FROM outbox`).Scan(&left)
			if err != nil || left != "2, 3 rests" {
				t.Errorf("left are the messages %s, %v", left, err)
			}
		})
	}
}

// A worker's queue may be full. Messages to other workers are sent nevertheless, of the same type and of others.
func TestRefusedMessagesDoNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.append(t,
		&smp.ActivateCollector{DebtorID: 1, CreditorID: 1, AccountID: "x", TS: sentAt},
		&smp.ActivateCollector{DebtorID: 1, CreditorID: 2, AccountID: "x", TS: sentAt},
		numbered(1), &smp.StartSending{CollectorID: 2, DebtorID: 1, TS: sentAt},
	)
	full := shard.KeyOf[int64](1).RoutingKey()
	config := w.config()
	config.Bursts = map[string]int{smp.TypeActivateCollector: 1}
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return fakePublisher{publish: func(_ context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
			outcomes := make([]broker.Outcome, len(batch))
			for i := range batch {
				outcomes[i] = broker.Confirmed
				if batch[i].RoutingKey == full {
					outcomes[i] = broker.Nacked
				}
			}
			return outcomes, nil
		}}
	}
	if err := newFlusher(t, config).RunOnce(t.Context()); !errors.Is(err, outbox.ErrNacked) {
		t.Errorf("the error is %v", err)
	}
	var left string
	const list = `SELECT string_agg(type || (body::json ->> 'creditor_id'), ', ' ORDER BY id) FROM outbox`
	err := w.db.Pool().QueryRow(t.Context(), list).Scan(&left)
	if err != nil || left != "ActivateCollector1, ReviseAccountLock1" {
		t.Errorf("left are the messages %s, %v", left, err)
	}
}

// A long queue does not hold up the others.
func TestQueuesTakeTurns(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.appendAll(t, 100)
	w.append(t, &smp.NeededCollector{DebtorID: 1, TS: sentAt}, &smp.StartSending{CollectorID: 1, DebtorID: 1, TS: sentAt})
	var order []string
	config := w.config()
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 10}
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return fakePublisher{publish: func(_ context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
			order = append(order, batch[0].Type)
			return slices.Repeat([]broker.Outcome{broker.Confirmed}, len(batch)), nil
		}}
	}
	flush(t, config)
	if len(order) != 12 || slices.Index(order, smp.TypeNeededCollector) > 2 || slices.Index(order, smp.TypeStartSending) > 2 {
		t.Errorf("the order is %v", order)
	}
}

// What goes to accounting authorities does not wait for the broker between workers, nor the other way round.
func TestBrokersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	for _, away := range []smp.Class{smp.ClassInternal, smp.ClassSMP} {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(t, finalize(connected, 1), numbered(1))
			config := w.config()
			config.NewPublisher = func(class smp.Class) outbox.Publisher {
				if class == away {
					return fakePublisher{connect: func(ctx context.Context) error {
						<-ctx.Done()
						return ctx.Err()
					}}
				}
				return newPublisher(w.brokerURL)
			}
			run(t, config)
			w.eventuallyHolds(t, 1)
		})
	}
}

// Commits are noticed at once, though the next pass is an hour away.
func TestFlusherIsWokenByCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener := postgres.NewListener(w.db.URL(), w.log.logger())
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return listener.Run(ctx) })
	defer func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	}()
	config := w.config()
	config.Listener = listener
	stop := run(t, config)
	defer stop()
	for n := range 5 {
		w.append(t, numbered(3*n), finalize(connected, 1))
		w.eventuallyHolds(t, 0)
		err := w.db.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
			_, err := outbox.AppendAll(ctx, tx, each(numbered(3*n+1), numbered(3*n+2)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.eventuallyHolds(t, 0)
	}
	w.mustReceive(t, 15, false)
}

// Without a listener, and with one that is deaf, the flusher looks from time to time.
func TestFlusherLooksPeriodically(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config()
	config.Period = 5 * time.Millisecond
	run(t, config)
	for n := range 3 {
		w.append(t, numbered(n))
		w.eventuallyHolds(t, 0)
	}
	w.mustReceive(t, 3, false)
}

func TestNoProcesses(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.append(t, numbered(1))
	config := w.config()
	config.Processes = 0
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		t.Error("a publisher was made")
		return newPublisher("")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	flusher := newFlusher(t, config)
	go func() { ended <- flusher.Run(ctx) }()
	if err := flusher.RunOnce(ctx); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("the flusher has ended with %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	w.mustHold(t, 1)
}

// A burst that has begun is finished after the order to stop, and no other one begins.
func TestStopFinishesTheBurst(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.appendAll(t, 30)
	ctx, stop := context.WithCancel(t.Context())
	config := w.config()
	config.Bursts = map[string]int{smp.TypeReviseAccountLock: 10}
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return fakePublisher{publish: func(ctx context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
			stop()
			return slices.Repeat([]broker.Outcome{broker.Confirmed}, len(batch)), ctx.Err()
		}}
	}
	if err := newFlusher(t, config).Run(ctx); err != nil {
		t.Error(err)
	}
	w.mustHold(t, 20)
}

// A burst that does not come to an end is given up some seconds after the order to stop.
func TestStopGivesUpTheBurst(t *testing.T) {
	t.Parallel()
	w := newDatabase(t)
	w.appendAll(t, 30)
	ctx, stop := context.WithCancel(t.Context())
	config := w.config()
	config.NewPublisher = func(smp.Class) outbox.Publisher {
		return fakePublisher{publish: func(ctx context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
			stop()
			<-ctx.Done()
			return make([]broker.Outcome, len(batch)), ctx.Err()
		}}
	}
	started := time.Now()
	if err := newFlusher(t, config).Run(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > 8*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	w.mustHold(t, 30)
}

// However long the queue, each record is read a few times only: there is no plan that reads or sorts all of it for each
// burst, or for each type, and no stepping over what earlier bursts have deleted. The statistics of a queue are of another
// time, and lead nobody astray.
func TestBacklogIsReadOnce(t *testing.T) {
	t.Parallel()
	const records = 20000
	for name, prepare := range map[string]func(*world){
		"there were few records of any type": func(w *world) {
			w.exec(t, `INSERT INTO outbox (type, shard_key, creditor_id, debtor_id, coordinator_id, coordinator_type, body)
				SELECT 'Gone', 0, 0, 0, 0, '', '' FROM generate_series(1, 200)`)
			w.exec(t, `ANALYZE outbox (retry_at); DELETE FROM outbox`)
			w.appendAll(t, records)
		},
		"there were many records of one type": func(w *world) {
			w.appendAll(t, records)
			w.exec(t, `ANALYZE outbox`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDatabase(t)
			prepare(w)
			if _, err := outbox.Backlogs(t.Context(), w.db); err != nil {
				t.Fatal(err)
			}
			config := w.config()
			config.Bursts = map[string]int{smp.TypeReviseAccountLock: 100}
			config.NewPublisher = func(smp.Class) outbox.Publisher {
				return fakePublisher{publish: func(_ context.Context, batch []broker.Publishing) ([]broker.Outcome, error) {
					return slices.Repeat([]broker.Outcome{broker.Confirmed}, len(batch)), nil
				}}
			}
			flush(t, config)
			w.mustHold(t, 0)
			w.mustHaveRead(t, 5*records, records)
		})
	}
}

// mustHaveRead checks how many records have been read since the outbox was made, some have been deleted, and the
// table has been vacuumed.
func (w *world) mustHaveRead(t *testing.T, atMost, deleted int) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		var read, gone, vacuums int
		err := w.db.Pool().QueryRow(t.Context(), `SELECT idx_tup_fetch + seq_tup_read, n_tup_del, vacuum_count
			FROM pg_stat_user_tables WHERE relname = 'outbox'`).Scan(&read, &gone, &vacuums)
		if err != nil {
			t.Fatal(err)
		}
		if gone < deleted || vacuums == 0 {
			return fmt.Errorf("%d records have been deleted, and the table has been vacuumed %d times", gone, vacuums)
		}
		if read > atMost {
			t.Errorf("%d records have been read", read)
		}
		return nil
	})
}

func TestNewFlusherRefuses(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]outbox.Config{
		"unknown type":     {Types: []string{"FinalizeTransferSignal"}},
		"incoming type":    {Types: []string{"AccountUpdate"}},
		"empty burst":      {Bursts: map[string]int{smp.TypeStartSending: 0}},
		"negative number":  {Processes: -1},
		"negative period":  {Period: -1},
		"negative burst":   {Bursts: map[string]int{smp.TypeStartSending: -1}},
		"one unknown type": {Types: []string{smp.TypeStartSending, ""}},
	} {
		if _, err := outbox.NewFlusher(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
