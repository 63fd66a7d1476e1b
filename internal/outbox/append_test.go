package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A delivered message, but for its body.
type letter struct {
	exchange, routingKey string
	headers              amqp.Table
}

// The messages of each type, and how they travel. The keys are hexadecimal debtor IDs, or 24 bits of an MD5 digest.
var letters = map[string]struct {
	message smp.Outgoing
	letter  letter
}{
	"ConfigureAccount": {
		&smp.ConfigureAccount{DebtorID: 1, CreditorID: 1099511627776, TS: sentAt, NegligibleAmount: 1e30},
		letter{"creditors_out", "00.00.00.00.00.00.00.01", amqp.Table{
			"message-type": "ConfigureAccount", "creditor-id": int64(1099511627776), "debtor-id": int64(1),
		}},
	},
	"PrepareTransfer": {prepare(-2, -1), letter{"creditors_out", "ff.ff.ff.ff.ff.ff.ff.fe", amqp.Table{
		"message-type": "PrepareTransfer", "creditor-id": int64(-1), "debtor-id": int64(-2),
		"coordinator-id": int64(-1), "coordinator-type": "agent",
	}}},
	"FinalizeTransfer": {finalize(666, 123), letter{"creditors_out", "00.00.00.00.00.00.02.9a", amqp.Table{
		"message-type": "FinalizeTransfer", "creditor-id": int64(123), "debtor-id": int64(666),
		"coordinator-id": int64(123), "coordinator-type": "agent",
	}}},
	"FetchDebtorInfo": {
		&smp.FetchDebtorInfo{IRI: "https://example.com/iri", DebtorID: 666, TS: sentAt},
		internal("FetchDebtorInfo", "0.1.0.0.0.0.1.1.1.1.0.1.0.1.0.0.1.1.0.0.0.1.0.1"),
	},
	"StoreDocument": {
		&smp.StoreDocument{DebtorInfoLocator: "https://пример.рф/", DebtorID: 666, TS: sentAt},
		internal("StoreDocument", "1.0.1.0.0.0.1.0.1.1.0.0.0.1.0.0.0.1.1.1.0.1.0.1"),
	},
	"DiscoverDebtor":    {&smp.DiscoverDebtor{DebtorID: 123, IRI: "x", TS: sentAt}, internal("DiscoverDebtor", key123)},
	"ConfirmDebtor":     {&smp.ConfirmDebtor{DebtorID: 123, DebtorInfoLocator: "x", TS: sentAt}, internal("ConfirmDebtor", key123)},
	"ActivateCollector": {&smp.ActivateCollector{DebtorID: 1, CreditorID: 123, AccountID: "x", TS: sentAt}, internal("ActivateCollector", key123)},
	"CandidateOffer":    {&smp.CandidateOffer{TurnID: 1, DebtorID: 1, CreditorID: 123, Amount: 1, TS: sentAt}, internal("CandidateOffer", key123)},
	"NeededCollector":   {&smp.NeededCollector{DebtorID: 123, TS: sentAt}, internal("NeededCollector", key123)},
	"ReviseAccountLock": {&smp.ReviseAccountLock{CreditorID: 123, DebtorID: 1, TS: sentAt}, internal("ReviseAccountLock", key123)},
	"TriggerTransfer":   {&smp.TriggerTransfer{CollectorID: 123, DebtorID: 1, TS: sentAt}, internal("TriggerTransfer", key123)},
	"AccountIdRequest":  {&smp.AccountIDRequest{CreditorID: 123, DebtorID: 1, TS: sentAt}, internal("AccountIdRequest", key123)},
	"AccountIdResponse": {&smp.AccountIDResponse{CollectorID: 123, DebtorID: 1, TS: sentAt}, internal("AccountIdResponse", key123)},
	"StartSending":      {&smp.StartSending{CollectorID: 123, DebtorID: 1, TS: sentAt}, internal("StartSending", key123)},
	"StartDispatching":  {&smp.StartDispatching{CollectorID: 123, DebtorID: 1, TS: sentAt}, internal("StartDispatching", key123)},
	"CollectingFailed":  {&smp.CollectingFailed{CollectorID: 123, DebtorID: 1, TS: sentAt}, internal("CollectingFailed", key123)},
	"NothingToReceive":  {&smp.NothingToReceive{CollectorID: 123, DebtorID: 1, TS: sentAt}, internal("NothingToReceive", key123)},
	"LockAbandoned":     {&smp.LockAbandoned{CreditorID: 123, DebtorID: 1, TS: sentAt}, internal("LockAbandoned", key123)},
}

const key123 = "1.1.1.1.1.1.0.0.0.0.0.1.0.0.0.0.0.1.1.0.0.0.1.1"

func internal(typeName, routingKey string) letter {
	return letter{"to_trade", routingKey, amqp.Table{"message-type": typeName}}
}

// each returns messages as an iterator.
func each(messages ...smp.Outgoing) iter.Seq2[smp.Outgoing, error] {
	return func(yield func(smp.Outgoing, error) bool) {
		for _, m := range messages {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// Each way to append gives the same messages on the wire.
func TestMessagesOnTheWire(t *testing.T) {
	t.Parallel()
	types := outbox.Types()
	if len(types) != len(letters) {
		t.Errorf("there are %d types, want %d", len(types), len(letters))
	}
	var messages []smp.Outgoing
	for _, name := range types {
		messages = append(messages, letters[name].message)
	}
	for name, appendTo := range map[string]func(context.Context, *workerdb.Tx) error{
		"Append": func(ctx context.Context, tx *workerdb.Tx) error { return outbox.Append(ctx, tx, messages...) },
		"AppendAll": func(ctx context.Context, tx *workerdb.Tx) error {
			count, err := outbox.AppendAll(ctx, tx, each(messages...))
			if count != int64(len(messages)) {
				t.Errorf("%d messages were appended, want %d", count, len(messages))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.bind(t, authorityQueue, "#", broker.CreditorsOut)
			if err := w.db.InTx(t.Context(), "append", appendTo); err != nil {
				t.Fatal(err)
			}
			flush(t, w.config())
			w.mustHold(t, 0)
			received := append(consume(t, w.channel, workerQueue), consume(t, w.channel, authorityQueue)...)
			if len(received) != len(messages) {
				t.Errorf("%d messages were received, want %d", len(received), len(messages))
			}
			for _, delivery := range received {
				mustBe(t, delivery)
			}
		})
	}
}

// mustBe compares a message with the one of its type that should have been sent.
func mustBe(t *testing.T, got amqp.Delivery) {
	t.Helper()
	sent, found := letters[got.Type]
	if !found {
		t.Errorf("a message of type %q was received", got.Type)
		return
	}
	if letter := (letter{got.Exchange, got.RoutingKey, got.Headers}); !reflect.DeepEqual(letter, sent.letter) {
		t.Errorf("%s: the letter is %+v, want %+v", got.Type, letter, sent.letter)
	}
	body, err := sent.message.AppendJSON(nil)
	if err != nil || !bytes.Equal(got.Body, body) {
		t.Errorf("%s: the body is %s, want %s (%v)", got.Type, got.Body, body, err)
	}
	properties := amqp.Delivery{
		Acknowledger: got.Acknowledger, ConsumerTag: got.ConsumerTag, DeliveryTag: got.DeliveryTag,
		Exchange: got.Exchange, RoutingKey: got.RoutingKey, Headers: got.Headers, Type: got.Type, Body: got.Body,
		DeliveryMode: amqp.Persistent, ContentType: "application/json", AppId: "swpt_trade",
	}
	if !reflect.DeepEqual(got, properties) {
		t.Errorf("%s: the properties are %+v, want %+v", got.Type, got, properties)
	}
}

func TestRollbackLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failure := errors.New("no")
	err := w.db.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		if err := outbox.Append(ctx, tx, numbered(1), finalize(connected, 1)); err != nil {
			return err
		}
		if _, err := outbox.AppendAll(ctx, tx, each(numbered(2))); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	w.mustHold(t, 0)
	flush(t, w.config())
	if messages := consume(t, w.channel, workerQueue); len(messages) > 0 {
		t.Errorf("%d messages were sent", len(messages))
	}
}

func TestAppendNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(t)
	w.appendAll(t, 0)
	w.mustHold(t, 0)
}

// Two equal messages are two messages.
func TestAppendTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(t, numbered(0), numbered(0))
	w.append(t, numbered(0))
	w.mustHold(t, 3)
	flush(t, w.config())
	if got := len(consume(t, w.channel, workerQueue)); got != 3 {
		t.Errorf("%d messages were sent, want 3", got)
	}
}

func TestAppendRefusesInvalidMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	invalid := numbered(1)
	invalid.DebtorID = 0
	unwritable := &smp.DiscoverDebtor{DebtorID: 1, IRI: "\xff", TS: sentAt}
	for name, m := range map[string]smp.Outgoing{"invalid": invalid, "unwritable": unwritable} {
		for way, appendTo := range map[string]func(context.Context, *workerdb.Tx) error{
			"Append": func(ctx context.Context, tx *workerdb.Tx) error { return outbox.Append(ctx, tx, numbered(0), m) },
			"AppendAll": func(ctx context.Context, tx *workerdb.Tx) error {
				_, err := outbox.AppendAll(ctx, tx, each(numbered(0), m))
				return err
			},
		} {
			if err := w.db.InTx(t.Context(), "append", appendTo); !errors.Is(err, smp.ErrInvalid) {
				t.Errorf("%s, %s: the error is %v", way, name, err)
			}
		}
	}
	w.mustHold(t, 0)
}

func TestAppendAllFailsWithItsSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failure := errors.New("no")
	err := w.db.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		_, err := outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
			_ = yield(numbered(0), nil) && yield(nil, failure)
		})
		return err
	})
	if !errors.Is(err, failure) {
		t.Errorf("the error is %v", err)
	}
	w.mustHold(t, 0)
}

// However many messages there are, they do not pile up in memory.
//
//nolint:paralleltest // The memory of other tests would count.
func TestAppendAllNeedsLittleMemory(t *testing.T) {
	w := newDatabase(t)
	const messages, sample = 100_000, 10_000
	var heaps []uint64
	err := w.db.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		_, err := outbox.AppendAll(ctx, tx, func(yield func(smp.Outgoing, error) bool) {
			for n := range messages {
				if n%sample == 0 {
					heaps = append(heaps, heap())
				}
				if !yield(numbered(n), nil) {
					return
				}
			}
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.mustHold(t, messages)
	// 100 000 bodies are 16 MB.
	if low, high := slices.Min(heaps), slices.Max(heaps); high-low > 2<<20 {
		t.Errorf("the heap is between %d and %d bytes", low, high)
	}
}

// heap returns the number of bytes that are in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// Millions of messages can be read from a cursor of the transaction, and appended in portions.
func TestAppendAllInPortions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.db.InTx(t.Context(), "append", func(ctx context.Context, tx *workerdb.Tx) error {
		for portion := range 3 {
			if _, err := outbox.AppendAll(ctx, tx, each(numbered(2*portion), numbered(2*portion+1))); err != nil {
				return fmt.Errorf("portion %d: %w", portion, err)
			}
			if _, err := tx.Exec(ctx, `SELECT 1`); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	flush(t, w.config())
	w.mustReceive(t, 6, false)
}
