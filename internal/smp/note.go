package smp

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// NoteFormat is the format of the notes by which the service recognizes its own transfers.
const NoteFormat = "-cXchge"

// ErrInvalidNote tells that a transfer note is not one of [NoteFormat], or not on a transfer that it could describe.
var ErrInvalidNote = errors.New("invalid transfer note")

// A NoteKind is the purpose of a transfer within a turn (section 7.1).
type NoteKind uint8

const (
	// Collecting is a transfer from a seller (the second ID) to a collector (the first).
	Collecting NoteKind = iota
	// Sending is a transfer from a collector (the first ID) to another one (the second).
	Sending
	// Dispatching is a transfer from a collector (the first ID) to a buyer (the second).
	Dispatching
)

// noteKinds holds, for each kind, its name and the labels of the two IDs.
var noteKinds = [...]struct{ name, first, second string }{
	Collecting:  {"collecting", "Buyer", "Seller"},
	Sending:     {"sending", "From", "To"},
	Dispatching: {"dispatching", "Seller", "Buyer"},
}

// String returns the name of the kind.
func (k NoteKind) String() string { return noteKinds[k].name }

// A Note is what a transfer note of [NoteFormat] says: for what, in which turn and between whom the transfer is made.
type Note struct {
	Kind   NoteKind
	TurnID int32
	First  swpt.CreditorID // a collector
	Second swpt.CreditorID // a creditor, or when sending another collector
}

const noteTitle = "Trading session"

// String returns the text of the note (section 7.1). It has at most 77 bytes. The turn and the IDs are written as
// unsigned numbers, the turn in decimal, the IDs in hexadecimal.
func (n Note) String() string {
	labels := noteKinds[n.Kind]
	text := make([]byte, 0, 80)
	text = append(text, noteTitle+": "...)
	text = strconv.AppendUint(text, uint64(uint32(n.TurnID)), 10)
	text = append(append(append(text, '\n'), labels.first...), ": "...)
	text = strconv.AppendUint(text, uint64(n.First), 16)
	text = append(append(append(text, '\n'), labels.second...), ": "...)
	text = strconv.AppendUint(text, uint64(n.Second), 16)
	return string(append(text, '\n'))
}

// Sender returns who pays.
func (n Note) Sender() swpt.CreditorID {
	if n.Kind == Collecting {
		return n.Second
	}
	return n.First
}

// Recipient returns who is paid.
func (n Note) Recipient() swpt.CreditorID {
	if n.Kind == Collecting {
		return n.First
	}
	return n.Second
}

// ParseNote reads the text of a note by the grammar of section 7.1. Errors wrap [ErrInvalidNote].
func ParseNote(text string) (Note, error) {
	title, turn, rest, ended := cutNoteLine(text)
	if !ended || title != noteTitle {
		return Note{}, fmt.Errorf("%w: its first line is not about a trading session", ErrInvalidNote)
	}
	turnID, ok := noteNumber(turn, 10)
	if !ok || turnID > math.MaxUint32 {
		return Note{}, fmt.Errorf("%w: the trading session is not a number of 32 bits", ErrInvalidNote)
	}
	firstLabel, first, rest, ended := cutNoteLine(rest)
	secondLabel, second, rest, _ := cutNoteLine(rest)
	if !ended || rest != "" {
		return Note{}, fmt.Errorf("%w: it has not three lines", ErrInvalidNote)
	}
	firstID, firstOK := noteNumber(first, 16)
	secondID, secondOK := noteNumber(second, 16)
	if !firstOK || !secondOK {
		return Note{}, fmt.Errorf("%w: an ID is not a hexadecimal number of 64 bits", ErrInvalidNote)
	}
	for kind, labels := range noteKinds {
		if firstLabel == labels.first && secondLabel == labels.second {
			return Note{
				Kind:   NoteKind(kind),
				TurnID: int32(uint32(turnID)),
				First:  swpt.CreditorID(firstID),
				Second: swpt.CreditorID(secondID),
			}, nil
		}
	}
	return Note{}, fmt.Errorf("%w: the labels of its IDs make no known pair", ErrInvalidNote)
}

// cutNoteLine takes the first line from a text and splits it at the colon. What is not split is all label. It tells
// whether the line has an end, which the last line of a note may lack.
func cutNoteLine(text string) (label, value, rest string, ended bool) {
	line, rest, ended := strings.Cut(text, "\n")
	if ended {
		line = strings.TrimSuffix(line, "\r")
	}
	label, value, _ = strings.Cut(line, ": ")
	return label, value, rest, ended
}

// noteNumber reads 1 to 16 digits.
func noteNumber(digits string, base int) (uint64, bool) {
	if len(digits) > 16 {
		return 0, false
	}
	value, err := strconv.ParseUint(digits, base, 64)
	return value, err == nil
}

// TradeNote returns the note of a transfer that this service coordinated, after making sure that the account is the one
// that the note names as the sender (AcquiredAmount < 0) or the recipient (section 7.2). Errors wrap [ErrInvalidNote];
// they are not reasons for rejecting the message, which then has no effect.
func (m *AccountTransfer) TradeNote() (Note, error) {
	if m.TransferNoteFormat != NoteFormat {
		return Note{}, fmt.Errorf("%w: its format is %q, not %q", ErrInvalidNote, m.TransferNoteFormat, NoteFormat)
	}
	note, err := ParseNote(m.TransferNote)
	if err != nil {
		return Note{}, err
	}
	owner := note.Recipient()
	if m.AcquiredAmount < 0 {
		owner = note.Sender()
	}
	if m.CreditorID != owner {
		return Note{}, fmt.Errorf("%w: it is on an account of creditor %d, not %d", ErrInvalidNote, m.CreditorID, owner)
	}
	return note, nil
}
