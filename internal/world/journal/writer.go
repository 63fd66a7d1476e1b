package journal

import (
	"bufio"
	"fmt"
	"io"
)

// A Writer writes entries as lines of text, for people to search. The format may change. It belongs to one goroutine.
type Writer struct {
	out *bufio.Writer
	err error
}

// NewWriter returns a writer. What it writes is complete after Flush.
func NewWriter(out io.Writer) *Writer { return &Writer{out: bufio.NewWriterSize(out, 1<<16)} }

// kindNames are what kinds are called in the text.
var kindNames = [...]string{
	Heard: "heard", Issued: "issued", Delivered: "delivered", Refused: "refused",
	Opened: "opened", Closed: "closed", Revived: "revived", Purged: "purged", RateChanged: "rate",
	Locked: "locked", Finalized: "finalized", Forgotten: "forgotten", Debited: "debited", Credited: "credited", Capitalised: "capitalised",
}

// String returns the name of the kind.
func (k Kind) String() string { return kindNames[k] }

// Record implements [Recorder].
func (w *Writer) Record(e *Entry) {
	const clock = "2006-01-02T15:04:05.000000Z"
	w.printf("%s %v ", e.At.UTC().Format(clock), e.Kind)
	switch e.Kind {
	case Heard, Issued, Delivered:
		body, err := e.Message.AppendJSON(nil)
		if err != nil {
			body = []byte(err.Error())
		}
		w.printf("%s\n", body)
	case Refused:
		w.printf("%s\n", e.Reason)
	default:
		w.entry(e)
	}
}

// entry writes what has happened to an account.
func (w *Writer) entry(e *Entry) {
	w.printf("%v: principal %d, interest %g, rate %g", e.Account, e.Holding.Principal, e.Holding.Interest, e.Holding.Rate)
	if e.Prepared != nil {
		w.printf(", transfer %d of request %d", e.Prepared.TransferID, e.Prepared.CoordinatorRequestID)
	}
	switch e.Kind {
	case Locked:
		w.printf(", locked %d", e.Prepared.LockedAmount)
	case Finalized:
		w.printf(", committed %d, %q", e.Amount, e.Status)
	case Debited, Credited, Capitalised:
		w.printf(", amount %d, credit %d, %s %q", e.Amount, e.Credit, e.CoordinatorType, e.Note)
	default: // there is no more to say
	}
	w.printf("\n")
}

func (w *Writer) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

// Flush writes what has not been written yet. It returns the first error that there has been.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err != nil {
		return fmt.Errorf("write the journal: %w", w.err)
	}
	return nil
}
