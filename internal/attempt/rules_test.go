package attempt_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/attempt"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func mustStore(tb testing.TB, b *bench, want ...workerdb.TransferAttempt) {
	tb.Helper()
	got := b.stored(tb)
	if describeAll(got) != describeAll(want) {
		tb.Fatalf("stored are\n%s\nwant\n%s", describeAll(got), describeAll(want))
	}
}

func mustSend(tb testing.TB, b *bench, want ...smp.Message) {
	tb.Helper()
	if got := b.sent(tb); describeAll(got) != describeAll(want) {
		tb.Fatalf("sent are\n%s\nwant\n%s", describeAll(got), describeAll(want))
	}
}

// describeAll describes rows or messages, one a line.
func describeAll[V any](values []V) string {
	var text strings.Builder
	for _, value := range values {
		description, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&text, "%T %s\n", value, description)
	}
	return text.String()
}

// The worked example of the chapter about peers, section 9, rows 10 to 14, after which everything comes once more.
func TestLife(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	collected := time.Date(2025, 6, 10, 3, 12, 0, 0, time.UTC)
	at := func(seconds int) time.Time {
		return time.Date(2025, 6, 10, 3, 30, 5, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
	}
	const buyerID, buyersAccount = 0x101000000b2, "2203318223026"
	b.exec(t, `INSERT INTO trading_policy (creditor_id, debtor_id, account_id, latest_ledger_update_id)
		VALUES ($1, $2, $3, 4)`, buyerID, int64(debtor), buyersAccount)
	b.account(t, collector, "2199023255557", -5)
	b.exec(t, "UPDATE worker_account SET last_interest_rate_change_ts = '2025-06-01 10:00:00.8Z'")
	b.exec(t, "UPDATE interest_rate_change SET change_ts = '2025-06-01 10:00:00.8Z'")
	b.exec(t, "SELECT setval('coordinator_request_id_seq', 502)")
	row := changed(newAttempt(), func(row *workerdb.TransferAttempt) {
		row.NominalAmount, row.CollectionStartedAt, row.InsertedAt = 2500000, collected, at(-1)
		row.RescheduledFor = new(at(0).Add(healthy))
	})
	b.insert(t, row)

	b.handle(t, at(-1), requestOf(row))
	response := responseTo(row, buyersAccount, 4)
	response.TS = at(-1)
	mustSend(t, b, response)

	b.handle(t, at(0), response)
	untilRate := time.Date(2025, 6, 1, 10, 0, 2, 800_000_000, time.UTC)
	prepare := &smp.PrepareTransfer{
		CreditorID: collector, DebtorID: debtor, CoordinatorType: "agent", CoordinatorID: int64(collector),
		CoordinatorRequestID: 503, Recipient: buyersAccount, FinalInterestRateTS: untilRate, MaxCommitDelay: 7200, TS: at(0),
	}
	mustSend(t, b, prepare)
	row.Recipient, row.RecipientVersion, row.RescheduledFor = buyersAccount, 4, nil
	row.AttemptedAt, row.CoordinatorRequestID = new(at(0)), new(int64(503))
	row.FinalInterestRateTs, row.Amount = new(untilRate), new(int64(2499938))
	mustStore(t, b, row)

	b.handle(t, at(4), preparedTransfer(503, 22254115346186241))
	commit := &smp.FinalizeTransfer{
		CreditorID: collector, DebtorID: debtor, TransferID: 22254115346186241, CoordinatorType: "agent",
		CoordinatorID: int64(collector), CoordinatorRequestID: 503, CommittedAmount: 2499938, TransferNoteFormat: "-cXchge",
		TransferNote: "Trading session: 7\nSeller: 10000000005\nBuyer: 101000000b2\n", TS: at(4),
	}
	mustSend(t, b, commit)
	row.TransferID, row.FinalizedAt = new(int64(22254115346186241)), new(at(4))
	mustStore(t, b, row)

	b.handle(t, at(7), finalizedTransfer(503, 22254115346186241, 2499938, "OK"))
	mustStore(t, b)
	mustSend(t, b)

	b.handle(t, at(8), triggerOf(row), responseTo(row, "C", 5), rejectedTransfer(503, "TIMEOUT"),
		finalizedTransfer(503, 22254115346186241, 2499938, "OK"))
	mustStore(t, b)
	mustSend(t, b)
	b.handle(t, at(9), preparedTransfer(503, 22254115346186241))
	mustSend(t, b, &smp.FinalizeTransfer{
		CreditorID: collector, DebtorID: debtor, TransferID: 22254115346186241, CoordinatorType: "agent",
		CoordinatorID: int64(collector), CoordinatorRequestID: 503, TS: at(9),
	})
	mustCount(t, b, `trade_attempts_made_total{kind="dispatching"} 1`, `trade_attempts_dismissed_transfers_total 1`,
		`trade_attempts_ended_total{kind="dispatching",outcome="paid"} 1`)
}

// An attempt that has failed for good is in the log, and stays in the table.
func TestFatal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	row := settledAttempt(1, 2)
	b.insert(t, row)
	b.handle(t, now, finalizedTransfer(1, 2, 998_000, "OK"))
	mustStore(t, b, changed(row, func(row *workerdb.TransferAttempt) {
		row.FailureCode, row.FatalError = new(int16(0)), new("UNEXPECTED_COMMITTED_AMOUNT")
	}))
	mustSend(t, b)
	var line map[string]any
	if err := json.Unmarshal([]byte(b.log.String()), &line); err != nil {
		t.Fatalf("%v: %s", err, b.log)
	}
	delete(line, "time")
	want := map[string]any{
		"level": "ERROR", "msg": "a transfer has failed for good, and somebody has to look after it",
		"status_code": "UNEXPECTED_COMMITTED_AMOUNT", "kind": "dispatching", "collector_id": float64(collector),
		"turn_id": 7.0, "debtor_id": float64(debtor), "creditor_id": float64(buyer), "recipient": "B", "amount": 999000.0,
		"coordinator_request_id": 1.0, "transfer_id": 2.0,
	}
	if !reflect.DeepEqual(line, want) {
		t.Errorf("logged is\n%v\nwant\n%v", line, want)
	}
	mustCount(t, b, `trade_attempts_ended_total{kind="dispatching",outcome="fatal"} 1`,
		`trade_attempts_failed_total{kind="dispatching",reason="other"} 1`, `trade_attempts{state="fatal"} 1`)
}

// Who waits for a transfer that would be of nothing is told (W-17): directly, or by a message to its shard.
func TestWorthless(t *testing.T) {
	t.Parallel()
	// In the shard "0.#" is creditor 3, and not creditor 2.
	for name, c := range map[string]struct {
		shard    string
		extended bool
		creditor swpt.CreditorID
		applied  bool
		sent     bool
	}{
		"only shard":               {"#", true, 2, true, false},
		"ours":                     {"0.#", true, 3, true, false},
		"of another shard":         {"0.#", true, 2, false, true},
		"ours, among others":       {"0.#", false, 3, true, false},
		"not known to other shard": {"0.#", false, 2, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, inShard(t, c.shard), func(s *attempt.Settings) { s.ExtendedMessages = c.extended })
			sending := changed(dueAttempt(), func(row *workerdb.TransferAttempt) {
				row.IsDispatching, row.NominalAmount, row.CreditorID = false, 1, c.creditor
			})
			dispatching := changed(sending, func(row *workerdb.TransferAttempt) { row.IsDispatching, row.TurnID = true, turn+1 })
			others := []workerdb.TransferAttempt{ // each with something else in its key, in this order
				changed(dispatching, func(row *workerdb.TransferAttempt) { row.CollectorID-- }),
				changed(dispatching, func(row *workerdb.TransferAttempt) { row.DebtorID-- }),
				changed(dispatching, func(row *workerdb.TransferAttempt) { row.CreditorID-- }),
				changed(dispatching, func(row *workerdb.TransferAttempt) { row.IsDispatching = false }),
				changed(dispatching, func(row *workerdb.TransferAttempt) { row.TurnID++ }),
			}
			b.insert(t, append(others, sending, dispatching)...)
			for _, table := range []string{"worker_sending", "worker_dispatching"} {
				b.exec(t, "INSERT INTO "+table+` SELECT $1, session, $2, creditor, 2, now()
					FROM generate_series(7, 8) AS session, unnest(ARRAY[$3, 77]) AS creditor`,
					int64(collector), int64(debtor), int64(c.creditor))
			}
			b.handle(t, now, triggerOf(sending), triggerOf(dispatching), triggerOf(dispatching))

			mustStore(t, b, others...)
			for record, want := range map[string]int{
				"worker_sending WHERE turn_id = 7 AND to_collector_id < 77": 0,
				"worker_dispatching WHERE turn_id = 8 AND creditor_id < 77": 0,
				"worker_sending":     3,
				"worker_dispatching": 3,
			} {
				if got := b.count(t, record); got != want {
					t.Errorf("there are %d rows in %s, want %d", got, record, want)
				}
			}
			told := []smp.Message{
				&smp.NothingToReceive{CollectorID: c.creditor, TurnID: turn, DebtorID: debtor, FromCollectorID: collector, TS: now},
				&smp.LockAbandoned{CreditorID: c.creditor, DebtorID: debtor, TurnID: turn + 1, TS: now},
			}
			if applied := describeAll(b.applied); (applied != "") != c.applied || c.applied && applied != describeAll(told) {
				t.Errorf("applied are\n%s", applied)
			}
			if !c.sent {
				told = nil
			}
			mustSend(t, b, told...)
			mustCount(t, b, `trade_attempts_ended_total{kind="sending",outcome="worthless"} 1`,
				`trade_attempts_ended_total{kind="dispatching",outcome="worthless"} 1`)
		})
	}
}

// Section 4.5.
func TestHandleAccountIDRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	policy := func(creditor int, accountID string, version int64, obsolete bool) {
		b.exec(t, `INSERT INTO trading_policy
			(creditor_id, debtor_id, account_id, latest_ledger_update_id, account_id_is_obsolete)
			VALUES ($1, $2, $3, $4, $5)`, creditor, int64(debtor), accountID, version, obsolete)
	}
	policy(1, "one", 11, false)
	policy(2, "", 12, false)
	policy(3, "three", math.MaxInt64, true)
	b.account(t, 1, "not this", 0)
	b.account(t, 2, "not this", 0)
	b.account(t, 4, "four", 0)
	b.account(t, 5, "", 0)
	sinceDate := time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC).Unix() / 86400

	var batch, want []smp.Message
	for creditor, c := range []struct {
		accountID string
		version   int64
	}{
		0: {"", math.MinInt64}, 1: {"one", 11}, 2: {"", 12}, 3: {"three", math.MaxInt64}, 4: {"four", sinceDate},
		5: {"", math.MinInt64},
	} {
		for _, isDispatching := range []bool{true, false} {
			row := changed(newAttempt(), func(row *workerdb.TransferAttempt) {
				row.CreditorID, row.IsDispatching = swpt.CreditorID(creditor), isDispatching
			})
			batch = append(batch, requestOf(row))
			want = append(want, responseTo(row, c.accountID, c.version))
		}
	}
	elsewhere := requestOf(changed(newAttempt(), func(row *workerdb.TransferAttempt) {
		row.CreditorID, row.DebtorID = 1, 1
	}))
	batch = append(batch, batch[0], elsewhere)
	want = append(want, want[0], &smp.AccountIDResponse{
		CollectorID: collector, TurnID: turn, DebtorID: 1, CreditorID: 1, IsDispatching: true,
		AccountIDVersion: math.MinInt64, TS: now,
	})
	b.handle(t, now, batch...)
	mustSend(t, b, want...)
}

// A response that names nobody, another coordinator, or an old request, changes nothing.
func TestUnknownRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	row := initiatedAttempt(1)
	b.insert(t, row)
	foreign := preparedTransfer(1, 5)
	foreign.CoordinatorID, foreign.CreditorID = 1, 1
	b.handle(t, now, foreign, preparedTransfer(2, 6), rejectedTransfer(2, "TIMEOUT"), finalizedTransfer(2, 6, 1, "OK"))
	mustStore(t, b, row)
	dismissal := func(request, transfer int64, creditor swpt.CreditorID) smp.Message {
		return &smp.FinalizeTransfer{
			CreditorID: creditor, DebtorID: debtor, TransferID: transfer, CoordinatorType: "agent",
			CoordinatorID: int64(creditor), CoordinatorRequestID: request, TS: now,
		}
	}
	mustSend(t, b, dismissal(1, 5, 1), dismissal(2, 6, collector))
}

// However messages of one type are divided into batches, the outcome is the same: that of handling them one by one.
func TestBatches(t *testing.T) {
	t.Parallel()
	together, apart := newBench(t), newBench(t)
	benches := []*bench{together, apart}
	for _, b := range benches {
		b.exec(t, "SELECT setval('coordinator_request_id_seq', $1)", latestGiven)
		b.account(t, 1, "X", -10)
		b.account(t, 2, "Y", 3)
	}
	rapid.Check(t, func(rt *rapid.T) {
		rows := drawRows(rt)
		batch := drawBatch(rt, rows)
		var outcomes []string
		for _, b := range benches {
			b.exec(t, "DELETE FROM transfer_attempt")
			b.insert(t, rows...)
		}
		together.handle(t, now, slices.Clone(batch)...)
		for _, m := range batch {
			apart.handle(t, now, m)
		}
		for _, b := range benches {
			outcomes = append(outcomes, outcome(t, b))
		}
		if outcomes[0] != outcomes[1] {
			rt.Fatalf("all at once:\n%s\none by one:\n%s", outcomes[0], outcomes[1])
		}
	})
}

// latestGiven is the latest request ID that is given to the rows for a test.
const latestGiven = 100

// drawRows returns some attempts in all kinds of states.
func drawRows(rt *rapid.T) []workerdb.TransferAttempt {
	var rows []workerdb.TransferAttempt
	for i := range rapid.IntRange(1, 5).Draw(rt, "rows") {
		request := int64(i)
		row := rapid.SampledFrom([]workerdb.TransferAttempt{
			newAttempt(), changed(newAttempt(), func(row *workerdb.TransferAttempt) { row.RescheduledFor = nil }),
			dueAttempt(), initiatedAttempt(request), settledAttempt(request, 1), failedAttempt(request, 1),
			failedAttempt(request, 2), failedAttempt(request, 3), waitingAttempt(request, 3, now.Add(day)),
		}).Draw(rt, "row")
		row.CollectorID = swpt.CreditorID(rapid.IntRange(1, 3).Draw(rt, "collector")) // of the third, nothing is known
		row.CreditorID = swpt.CreditorID(100 + i)
		row.IsDispatching = rapid.Bool().Draw(rt, "is dispatching")
		row.NominalAmount = rapid.SampledFrom([]float64{1, 2, 1e6}).Draw(rt, "nominal amount")
		row.BackoffCounter = int16(rapid.IntRange(0, 6).Draw(rt, "counter"))
		rows = append(rows, row)
	}
	return rows
}

// drawBatch returns messages of one type about some of the attempts.
func drawBatch(rt *rapid.T, rows []workerdb.TransferAttempt) []smp.Message {
	kind := rapid.IntRange(0, 4).Draw(rt, "kind")
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) smp.Message {
		row := rapid.SampledFrom(rows).Draw(rt, "about")
		request := rapid.Int64Range(0, int64(len(rows))).Draw(rt, "request")
		transfer := rapid.Int64Range(1, 2).Draw(rt, "transfer")
		code := rapid.SampledFrom([]string{"TIMEOUT", "RECIPIENT_IS_UNREACHABLE", "NEWER_INTEREST_RATE", ""}).Draw(rt, "code")
		switch kind {
		case 0:
			return triggerOf(row)
		case 1:
			accountID := rapid.SampledFrom([]string{"", "B", "C"}).Draw(rt, "account ID")
			return responseTo(row, accountID, rapid.Int64Range(9, 13).Draw(rt, "version"))
		case 2:
			m := preparedTransfer(request, transfer)
			m.CreditorID, m.CoordinatorID = row.CollectorID, int64(row.CollectorID)
			return m
		case 3:
			m := rejectedTransfer(request, code)
			m.CreditorID, m.CoordinatorID = row.CollectorID, int64(row.CollectorID)
			return m
		default:
			m := finalizedTransfer(request, transfer, 0, code)
			if rapid.Bool().Draw(rt, "successful") {
				m.StatusCode, m.CommittedAmount = "OK", rapid.SampledFrom([]int64{0, 1, 999_000}).Draw(rt, "amount")
			}
			m.CreditorID, m.CoordinatorID = row.CollectorID, int64(row.CollectorID)
			return m
		}
	}), 1, 8).Draw(rt, "batch")
}

// outcome describes all that is in the database, with new request IDs replaced by what they are for.
func outcome(tb testing.TB, b *bench) string {
	tb.Helper()
	recipients := map[int64]int64{}
	rows := b.stored(tb)
	for i := range rows {
		if request := rows[i].CoordinatorRequestID; request != nil && *request > latestGiven {
			recipients[*request] = -int64(rows[i].CreditorID)
			*request = recipients[*request]
		}
	}
	sent := b.sent(tb)
	var messages []string
	for _, m := range sent {
		if m, ok := m.(*smp.PrepareTransfer); ok {
			m.CoordinatorRequestID = recipients[m.CoordinatorRequestID] // zero if no row has it
		}
		messages = append(messages, describeAll([]smp.Message{m}))
	}
	slices.Sort(messages)
	b.mu.Lock()
	defer b.mu.Unlock()
	var applied []string
	for _, m := range b.applied {
		applied = append(applied, describeAll([]smp.Message{m}))
	}
	b.applied = nil
	slices.Sort(applied)
	return describeAll(rows) + fmt.Sprint(messages, applied)
}
