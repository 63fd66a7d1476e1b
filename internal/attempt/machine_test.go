package attempt

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

var (
	start = time.Date(2026, 3, 10, 3, 12, 0, 0, time.UTC) // of the collection
	madeA = start.Add(hour)                               // when the attempt has been made
	now   = start.Add(30*day - hour)
)

const (
	healthy    = 2 * hour
	cut        = 1e-5
	collector  = 0x10000000005
	buyer      = 0x101000000b2
	turn       = 7
	debtor     = 8001
	number     = 503 // of the latest PrepareTransfer
	nextNumber = 504
	transfer   = 22254115346186241
)

// The row of each state, made from the one before.

func newAttempt() workerdb.TransferAttempt {
	return workerdb.TransferAttempt{
		CollectorID: collector, TurnID: turn, DebtorID: debtor, CreditorID: buyer, IsDispatching: true,
		NominalAmount: 1e6, CollectionStartedAt: start, InsertedAt: start, RecipientVersion: -1 << 63,
		RescheduledFor: new(now.Add(healthy)),
	}
}

func forgottenAttempt() workerdb.TransferAttempt {
	row := newAttempt()
	row.RescheduledFor = nil
	return row
}

func dueAttempt() workerdb.TransferAttempt {
	row := forgottenAttempt()
	row.Recipient, row.RecipientVersion = "B", 10
	return row
}

func postponedAttempt() workerdb.TransferAttempt {
	row := dueAttempt()
	row.RescheduledFor = new(now.Add(healthy))
	return row
}

func initiatedAttempt() workerdb.TransferAttempt {
	row := dueAttempt()
	row.AttemptedAt, row.CoordinatorRequestID = new(madeA), new(int64(number))
	row.FinalInterestRateTs, row.Amount = new(rateTS), new(int64(999_000))
	return row
}

func settledAttempt() workerdb.TransferAttempt {
	row := initiatedAttempt()
	row.TransferID, row.FinalizedAt = new(int64(transfer)), new(madeA.Add(time.Minute))
	return row
}

// failedAttempt is due again.
func failedAttempt(code, counter int16) workerdb.TransferAttempt {
	row := initiatedAttempt()
	row.FailureCode, row.BackoffCounter = new(code), counter
	return row
}

// waitingAttempt has failed, and is to be made again at some time.
func waitingAttempt(code, counter int16) workerdb.TransferAttempt {
	row := failedAttempt(code, counter)
	row.RescheduledFor = new(now.Add(time.Minute))
	return row
}

func fatalAttempt() workerdb.TransferAttempt {
	row := settledAttempt()
	row.FailureCode, row.FatalError = new(unspecified), new("TRANSFER_NOTE_IS_TOO_LONG")
	return row
}

// everyState has a row in each state, and in each variety of it.
func everyState() map[string]workerdb.TransferAttempt {
	rows := map[string]workerdb.TransferAttempt{
		"new": newAttempt(), "forgotten": forgottenAttempt(), "due": dueAttempt(), "postponed": postponedAttempt(),
		"initiated": initiatedAttempt(), "settled": settledAttempt(), "fatal": fatalAttempt(),
	}
	for code := unspecified; code <= insufficientAvailableAmount; code++ {
		rows[fmt.Sprint("failed ", code)] = failedAttempt(code, 3)
		rows[fmt.Sprint("waiting ", code)] = waitingAttempt(code, 3)
	}
	return rows
}

func TestStates(t *testing.T) {
	t.Parallel()
	want := map[string]state{
		"new": isNew, "forgotten": isNew, "due": due, "postponed": postponed, "initiated": initiated, "settled": settled,
		"fatal": fatal,
	}
	for name, row := range everyState() {
		expected, found := want[name]
		if !found {
			expected = due
			if row.RescheduledFor != nil {
				expected = postponed
			}
		}
		if got := stateOf(&row); got != expected {
			t.Errorf("%s: the state is %s, want %s", name, got, expected)
		}
	}
}

// What is known of the collector's account: a rate that has come into force 10 days ago.
var (
	known  = &rates{current: interest.Change{At: now.AddDate(0, 0, -10), Rate: -20}}
	rateTS = now.AddDate(0, 0, -10).Add(2 * time.Second)
)

// Messages, as they are expected.

func prepares(amountDelay time.Duration) smp.Outgoing {
	return &smp.PrepareTransfer{
		CreditorID: collector, DebtorID: debtor, CoordinatorType: "agent", CoordinatorID: collector,
		CoordinatorRequestID: nextNumber, Recipient: "B", FinalInterestRateTS: rateTS,
		MaxCommitDelay: int32(amountDelay / time.Second), TS: now,
	}
}

func commits() smp.Outgoing {
	return &smp.FinalizeTransfer{
		CreditorID: collector, DebtorID: debtor, TransferID: transfer, CoordinatorType: "agent", CoordinatorID: collector,
		CoordinatorRequestID: number, CommittedAmount: 999_000, TransferNoteFormat: "-cXchge",
		TransferNote: "Trading session: 7\nSeller: 10000000005\nBuyer: 101000000b2\n", TS: now,
	}
}

func dismisses(m *smp.PreparedTransfer) smp.Outgoing {
	return &smp.FinalizeTransfer{
		CreditorID: m.CreditorID, DebtorID: m.DebtorID, TransferID: m.TransferID, CoordinatorType: m.CoordinatorType,
		CoordinatorID: m.CoordinatorID, CoordinatorRequestID: m.CoordinatorRequestID, TS: now,
	}
}

func asks() smp.Outgoing {
	return &smp.AccountIDRequest{
		CollectorID: collector, TurnID: turn, DebtorID: debtor, CreditorID: buyer, IsDispatching: true, TS: now,
	}
}

// A step is an event, and what is expected of it.
type step struct {
	before workerdb.TransferAttempt
	event  func(m *machine, a *attempt)
	after  func(row *workerdb.TransferAttempt) // nil: nothing changes
	fate   fate                                // if not changed, or untouched
	say    []smp.Outgoing
}

func (s step) check(t *testing.T) {
	t.Helper()
	m := &machine{healthyDelay: healthy, cut: cut, now: now}
	a := &attempt{TransferAttempt: s.before, nextRequestID: nextNumber}
	wantFate := s.fate
	want := s.before
	if s.after != nil {
		s.after(&want)
		wantFate = changed
	}
	s.event(m, a)
	if !a.isOver() && !reflect.DeepEqual(a.TransferAttempt, want) {
		t.Errorf("the attempt is\n%s\nwant\n%s", describe(a.TransferAttempt), describe(want))
	}
	if a.fate != wantFate {
		t.Errorf("the fate is %d, want %d", a.fate, wantFate)
	}
	if !reflect.DeepEqual(m.outgoing, s.say) {
		t.Errorf("the messages are\n%s\nwant\n%s", describeAll(m.outgoing), describeAll(s.say))
	}
}

func describe(row workerdb.TransferAttempt) string {
	text := func(p any) string {
		if v := reflect.ValueOf(p); !v.IsNil() {
			return fmt.Sprint(v.Elem())
		}
		return "-"
	}
	return fmt.Sprintf("recipient %q %d, rescheduled for %s, attempted at %s, request %s, rate %s, amount %s, "+
		"transfer %s at %s, failure %s, counter %d, fatal %s", row.Recipient, row.RecipientVersion,
		text(row.RescheduledFor), text(row.AttemptedAt), text(row.CoordinatorRequestID), text(row.FinalInterestRateTs),
		text(row.Amount), text(row.TransferID), text(row.FinalizedAt), text(row.FailureCode), row.BackoffCounter,
		text(row.FatalError))
}

func describeAll(messages []smp.Outgoing) string {
	var text strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&text, "%s %+v\n", m.Type(), m)
	}
	return text.String()
}

// runSteps runs the steps, and for the states that they do not mention makes sure that the event changes nothing.
func runSteps(t *testing.T, otherwise step, steps map[string]step) {
	t.Helper()
	states := everyState()
	for name := range states {
		if _, found := steps[name]; !found {
			otherwise.before = states[name]
			steps[name] = otherwise
		}
	}
	for name := range steps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps[name].check(t)
		})
	}
}

// made returns what making an attempt changes, if the deadline is after a delay.
func made(delay time.Duration) func(*workerdb.TransferAttempt) {
	return func(row *workerdb.TransferAttempt) {
		row.RescheduledFor = nil
		row.AttemptedAt, row.CoordinatorRequestID = new(now), new(int64(nextNumber))
		row.FinalInterestRateTs = new(rateTS)
		row.Amount = new(amountLeft(row.NominalAmount, -20, 10*time.Minute+30*day-hour+delay, cut))
		row.TransferID, row.FinalizedAt, row.FailureCode = nil, nil, nil
	}
}

// and returns what makes one change after the other.
func and(changes ...func(*workerdb.TransferAttempt)) func(*workerdb.TransferAttempt) {
	return func(row *workerdb.TransferAttempt) {
		for _, change := range changes {
			change(row)
		}
	}
}

// Sections 4.3 and 4.4, with W-11, W-12, and W-17.
func TestTriggered(t *testing.T) {
	t.Parallel()
	trigger := func(m *machine, a *attempt) { m.triggered(a, nil, known) }
	triggerBlindly := func(m *machine, a *attempt) { m.triggered(a, nil, nil) }
	rescheduled := func(row *workerdb.TransferAttempt) { row.RescheduledFor = new(now.Add(healthy)) }
	withAmount := func(row workerdb.TransferAttempt, nominal float64) workerdb.TransferAttempt {
		row.NominalAmount = nominal
		return row
	}
	olderRate := failedAttempt(newerInterestRate, 3)
	olderRate.FinalInterestRateTs = new(rateTS.Add(-time.Microsecond))
	settledBefore := settledAttempt()
	settledBefore.FailureCode, settledBefore.BackoffCounter = new(timeout), 3
	runSteps(t, step{event: trigger}, map[string]step{
		"forgotten": {before: forgottenAttempt(), event: trigger, after: rescheduled, say: []smp.Outgoing{asks()}},
		"due": {
			before: dueAttempt(), event: trigger,
			after: made(2 * hour), say: []smp.Outgoing{prepares(2 * hour)},
		},
		"failed 0": {
			before: failedAttempt(unspecified, 3), event: trigger,
			after: made(16 * hour), say: []smp.Outgoing{prepares(16 * hour)},
		},
		"failed 1": {
			before: failedAttempt(timeout, 4), event: trigger,
			after: made(32 * hour), say: []smp.Outgoing{prepares(32 * hour)},
		},
		"failed 4": {
			before: failedAttempt(insufficientAvailableAmount, 3), event: trigger,
			after: made(16 * hour), say: []smp.Outgoing{prepares(16 * hour)},
		},
		"commit failed": {
			before: settledBefore, event: trigger,
			after: made(16 * hour), say: []smp.Outgoing{prepares(16 * hour)},
		},
		"failed 2": { // nothing new is known
			before: failedAttempt(newerInterestRate, 3), event: trigger,
			after: rescheduled,
		},
		"newer rate known": {
			before: olderRate, event: trigger,
			after: made(16 * hour), say: []smp.Outgoing{prepares(16 * hour)},
		},
		"account not known":          {before: dueAttempt(), event: triggerBlindly, after: rescheduled},
		"account not known any more": {before: olderRate, event: triggerBlindly, after: rescheduled},
		"failed 3": {
			before: failedAttempt(recipientIsUnreachable, 3), event: trigger,
			after: and(made(16*hour), func(row *workerdb.TransferAttempt) {
				row.FailureCode, row.BackoffCounter, row.RescheduledFor = new(recipientIsUnreachable), 4, new(now.Add(16*hour))
			}),
			say: []smp.Outgoing{asks()},
		},
		"failed 3, even counter": {
			before: failedAttempt(recipientIsUnreachable, 4), event: trigger,
			after: made(32 * hour), say: []smp.Outgoing{prepares(32 * hour)},
		},
		"nothing is left":            {before: withAmount(dueAttempt(), 1), event: trigger, fate: worthless},
		"nothing of a failed one":    {before: withAmount(olderRate, 1), event: trigger, fate: worthless},
		"nothing, account not known": {before: withAmount(dueAttempt(), 1), event: triggerBlindly, fate: worthless},
		"one is left": {
			before: withAmount(dueAttempt(), 2), event: trigger,
			after: made(2 * hour), say: []smp.Outgoing{prepares(2 * hour)},
		},
	})
}

// However long ago a collection has begun, sums of periods do not overflow.
func TestVeryOldAttempts(t *testing.T) {
	t.Parallel()
	row := failedAttempt(timeout, 31)
	row.CollectionStartedAt = time.Unix(-1<<40, 0)
	row.NominalAmount = 1e15
	step{before: row, event: func(m *machine, a *attempt) { m.triggered(a, nil, known) }, fate: worthless}.check(t)
}

// Section 4.5, with W-11 and W-12.
func TestAccountIDReceived(t *testing.T) {
	t.Parallel()
	answer := func(accountID string, version int64) func(*machine, *attempt) {
		return func(m *machine, a *attempt) {
			m.accountIDReceived(a, &smp.AccountIDResponse{AccountID: accountID, AccountIDVersion: version}, known)
		}
	}
	isNow := func(recipient string, version int64) func(*workerdb.TransferAttempt) {
		return func(row *workerdb.TransferAttempt) { row.Recipient, row.RecipientVersion = recipient, version }
	}
	unspecifiedNow := func(row *workerdb.TransferAttempt) { row.FailureCode = new(unspecified) }
	toB := []smp.Outgoing{prepares(2 * hour)}
	toC := []smp.Outgoing{&smp.PrepareTransfer{}}
	*toC[0].(*smp.PrepareTransfer) = *prepares(16 * hour).(*smp.PrepareTransfer)
	toC[0].(*smp.PrepareTransfer).Recipient = "C"
	worthlessOne := newAttempt()
	worthlessOne.NominalAmount = 1
	runSteps(t, step{event: answer("C", 11)}, map[string]step{
		"new": {
			before: newAttempt(), event: answer("B", 0),
			after: and(isNow("B", 0), made(2*hour)), say: toB,
		},
		"forgotten": {
			before: forgottenAttempt(), event: answer("B", -5),
			after: and(isNow("B", -5), made(2*hour)), say: toB,
		},
		"new, not known":    {before: newAttempt(), event: answer("", -1<<63)},
		"new, smallest":     {before: newAttempt(), event: answer("B", -1<<63)},
		"new, no ID yet":    {before: newAttempt(), event: answer("", 5), after: isNow("", 5)},
		"new, not ASCII":    {before: newAttempt(), event: answer("Ж", 5), after: isNow("", 5)},
		"new, nothing left": {before: worthlessOne, event: answer("B", 5), fate: worthless},
		"failed 3": {
			before: failedAttempt(recipientIsUnreachable, 3), event: answer("C", 11),
			after: and(isNow("C", 11), made(16*hour)), say: toC,
		},
		"failed 3, same ID": {
			before: failedAttempt(recipientIsUnreachable, 3), event: answer("B", 11),
			after: and(isNow("B", 11), made(16*hour)), say: []smp.Outgoing{prepares(16 * hour)},
		},
		"failed 3, no ID": {
			before: failedAttempt(recipientIsUnreachable, 3), event: answer("", 11),
			after: isNow("B", 11),
		},
		"failed 3, same":  {before: failedAttempt(recipientIsUnreachable, 3), event: answer("C", 10)},
		"failed 3, older": {before: failedAttempt(recipientIsUnreachable, 3), event: answer("C", 9)},
		"waiting 3": {
			before: waitingAttempt(recipientIsUnreachable, 3), event: answer("C", 11),
			after: and(isNow("C", 11), unspecifiedNow),
		},
		"waiting 3, same ID": {
			before: waitingAttempt(recipientIsUnreachable, 3), event: answer("B", 11),
			after: and(isNow("B", 11), unspecifiedNow),
		},
		"waiting 3, no ID": {
			before: waitingAttempt(recipientIsUnreachable, 3), event: answer("", 11),
			after: isNow("B", 11),
		},
		"waiting 3, older ID": {before: waitingAttempt(recipientIsUnreachable, 3), event: answer("C", 10)},
	})
}

func preparedTransfer(id int64) *smp.PreparedTransfer {
	return &smp.PreparedTransfer{
		DebtorID: debtor, CreditorID: collector, CoordinatorType: "agent", CoordinatorID: collector,
		CoordinatorRequestID: number, TransferID: id, Recipient: "B",
	}
}

// Section 4.3.
func TestPrepared(t *testing.T) {
	t.Parallel()
	comes := func(message *smp.PreparedTransfer) func(*machine, *attempt) {
		return func(m *machine, a *attempt) { m.prepared(a, message) }
	}
	usual, other := preparedTransfer(transfer), preparedTransfer(transfer+1)
	otherDebtor, otherCreditor := preparedTransfer(transfer), preparedTransfer(transfer)
	otherDebtor.DebtorID++
	otherCreditor.CreditorID++
	dismissed := step{event: comes(usual), say: []smp.Outgoing{dismisses(usual)}}
	steps := map[string]step{
		"initiated": {
			before: initiatedAttempt(), event: comes(usual), say: []smp.Outgoing{commits()},
			after: func(row *workerdb.TransferAttempt) {
				row.TransferID, row.FinalizedAt = new(int64(transfer)), new(now)
			},
		},
		"settled":             {before: settledAttempt(), event: comes(usual), say: []smp.Outgoing{commits()}},
		"settled, another ID": {before: settledAttempt(), event: comes(other), say: []smp.Outgoing{dismisses(other)}},
		"no attempt": {
			before: initiatedAttempt(), event: func(m *machine, _ *attempt) { m.prepared(nil, usual) },
			say: []smp.Outgoing{dismisses(usual)},
		},
	}
	for name, row := range everyState() {
		steps[name+", another debtor"] = step{
			before: row, event: comes(otherDebtor), say: []smp.Outgoing{dismisses(otherDebtor)},
		}
		steps[name+", another creditor"] = step{
			before: row, event: comes(otherCreditor), say: []smp.Outgoing{dismisses(otherCreditor)},
		}
	}
	runSteps(t, dismissed, steps)
}

func TestNoteOfSending(t *testing.T) {
	t.Parallel()
	row := settledAttempt()
	row.IsDispatching = false
	want := *commits().(*smp.FinalizeTransfer)
	want.TransferNote = "Trading session: 7\nFrom: 10000000005\nTo: 101000000b2\n"
	step{
		before: row, event: func(m *machine, a *attempt) { m.prepared(a, preparedTransfer(transfer)) },
		say: []smp.Outgoing{&want},
	}.check(t)
}

// failures are the rows of section 4.6, with W-16: what a failure changes.
func failures(row workerdb.TransferAttempt) map[string]step {
	backedOff := func(code int16) func(*workerdb.TransferAttempt) {
		return func(row *workerdb.TransferAttempt) {
			row.FailureCode, row.RescheduledFor, row.BackoffCounter = new(code), new(madeA.Add(16*hour)), 4
		}
	}
	hopeless := func(code string) func(*workerdb.TransferAttempt) {
		return func(row *workerdb.TransferAttempt) { row.FailureCode, row.FatalError = new(unspecified), new(code) }
	}
	row.BackoffCounter = 3
	return map[string]step{
		"TIMEOUT": {before: row, after: backedOff(timeout)},
		"RECIPIENT_IS_UNREACHABLE": {
			before: row,
			after:  backedOff(recipientIsUnreachable), say: []smp.Outgoing{asks()},
		},
		"INSUFFICIENT_AVAILABLE_AMOUNT": {before: row, after: backedOff(insufficientAvailableAmount)},
		"SENDER_IS_UNREACHABLE":         {before: row, after: backedOff(unspecified)},
		"NEWER_INTEREST_RATE": {before: row, after: func(row *workerdb.TransferAttempt) {
			row.FailureCode, row.RescheduledFor = new(newerInterestRate), new(now.Add(healthy))
		}},
		"TRANSFER_NOTE_IS_TOO_LONG": {before: row, after: hopeless("TRANSFER_NOTE_IS_TOO_LONG")},
		"timeout":                   {before: row, after: hopeless("timeout")},
		"":                          {before: row, after: hopeless("")},
	}
}

// In metrics, only codes that have a meaning have a name.
func TestReasons(t *testing.T) {
	t.Parallel()
	for code, s := range failures(initiatedAttempt()) {
		want := strings.ToLower(code)
		if s.after(&s.before); s.before.FatalError != nil {
			want = "other"
		}
		if got := reasonOf(code); got != want {
			t.Errorf("the reason of %s is called %s, want %s", code, got, want)
		}
	}
}

func TestRejected(t *testing.T) {
	t.Parallel()
	rejected := func(code string) func(*machine, *attempt) {
		return func(m *machine, a *attempt) { m.rejected(a, &smp.RejectedTransfer{StatusCode: code}) }
	}
	steps := map[string]step{
		"no attempt": {event: func(m *machine, _ *attempt) { m.rejected(nil, &smp.RejectedTransfer{StatusCode: "TIMEOUT"}) }},
		"initiated": {before: initiatedAttempt(), event: rejected("TIMEOUT"), after: func(row *workerdb.TransferAttempt) {
			row.FailureCode, row.RescheduledFor, row.BackoffCounter = new(timeout), new(madeA.Add(2*hour)), 3
		}},
	}
	for code, s := range failures(initiatedAttempt()) {
		s.event = rejected(code)
		steps["initiated, "+code] = s
	}
	runSteps(t, step{event: rejected("TIMEOUT")}, steps)
}

// W-23.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	unanswered := func(m *machine, a *attempt) { m.unanswered(a) }
	runSteps(t, step{event: unanswered}, map[string]step{
		"initiated": {before: initiatedAttempt(), event: unanswered, after: func(row *workerdb.TransferAttempt) {
			row.FailureCode, row.RescheduledFor, row.BackoffCounter = new(timeout), new(madeA.Add(2*hour)), 3
		}},
	})
}

func TestFinalized(t *testing.T) {
	t.Parallel()
	finalized := func(code string, amount int64, change func(*smp.FinalizedTransfer)) func(*machine, *attempt) {
		message := &smp.FinalizedTransfer{
			DebtorID: debtor, CreditorID: collector, TransferID: transfer, StatusCode: code, CommittedAmount: amount,
		}
		change(message)
		return func(m *machine, a *attempt) { m.finalized(a, message) }
	}
	asItIs := func(*smp.FinalizedTransfer) {}
	hopeless := func(code string) func(*workerdb.TransferAttempt) {
		return func(row *workerdb.TransferAttempt) { row.FailureCode, row.FatalError = new(unspecified), new(code) }
	}
	steps := map[string]step{
		"no attempt": {event: func(m *machine, _ *attempt) { m.finalized(nil, &smp.FinalizedTransfer{StatusCode: "OK"}) }},
		"settled":    {before: settledAttempt(), event: finalized("OK", 999_000, asItIs), fate: paid},
		"nothing":    {before: settledAttempt(), event: finalized("OK", 0, asItIs), after: hopeless("OK")},
		"too little": {
			before: settledAttempt(), event: finalized("OK", 998_999, asItIs),
			after: hopeless("UNEXPECTED_COMMITTED_AMOUNT"),
		},
		"too much": {
			before: settledAttempt(), event: finalized("OK", 999_001, asItIs),
			after: hopeless("UNEXPECTED_COMMITTED_AMOUNT"),
		},
		"other debtor": {
			before: settledAttempt(),
			event:  finalized("OK", 999_000, func(m *smp.FinalizedTransfer) { m.DebtorID++ }),
		},
		"other creditor": {
			before: settledAttempt(), event: finalized("OK", 999_000, func(m *smp.FinalizedTransfer) { m.CreditorID++ }),
		},
		"other transfer": {
			before: settledAttempt(), event: finalized("OK", 999_000, func(m *smp.FinalizedTransfer) { m.TransferID++ }),
		},
	}
	for code, s := range failures(settledAttempt()) {
		s.event = finalized(code, 0, asItIs)
		steps["settled, "+code] = s
	}
	runSteps(t, step{event: finalized("OK", 999_000, asItIs)}, steps)
}
