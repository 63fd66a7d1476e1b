package smp_test

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

var noteKinds = []smp.NoteKind{smp.Collecting, smp.Sending, smp.Dispatching}

// The rows of 7.1 that are written as well as read.
func TestNotesAreWritten(t *testing.T) {
	t.Parallel()
	for want, note := range map[string]smp.Note{
		"Trading session: 1\nBuyer: 10000000000\nSeller: 7b\n": {
			Kind: smp.Collecting, TurnID: 1, First: 1099511627776, Second: 123,
		},
		"Trading session: 7\nFrom: 10000000000\nTo: 10000000001\n": {
			Kind: smp.Sending, TurnID: 7, First: 1099511627776, Second: 1099511627777,
		},
		"Trading session: 7\nSeller: 10000000000\nBuyer: ffffffffffffffff\n": {
			Kind: smp.Dispatching, TurnID: 7, First: 1099511627776, Second: -1,
		},
		"Trading session: 2147483648\nSeller: 8000000000000000\nBuyer: 7fffffffffffffff\n": {
			Kind: smp.Dispatching, TurnID: math.MinInt32, First: math.MinInt64, Second: math.MaxInt64,
		},
	} {
		if got := note.String(); got != want {
			t.Errorf("%+v is written %q, want %q", note, got, want)
		}
		if got, err := smp.ParseNote(want); err != nil || got != note {
			t.Errorf("%q is read as %+v, %v; want %+v", want, got, err, note)
		}
	}
	longest := smp.Note{Kind: smp.Dispatching, TurnID: -1, First: -1, Second: -1}.String()
	if len(longest) != 77 {
		t.Errorf("the longest note has %d bytes, want 77", len(longest))
	}
	if names := fmt.Sprint(noteKinds); names != "[collecting sending dispatching]" {
		t.Errorf("the kinds are %s", names)
	}
}

func TestNotesAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]smp.Note{
		"Trading session: 4294967295\r\nSeller: A\r\nBuyer: B\r\n": {
			Kind: smp.Dispatching, TurnID: -1, First: 10, Second: 11,
		},
		"Trading session: 0\r\nFrom: Ffffffffffffffff\r\nTo: 0":            {Kind: smp.Sending, First: -1},
		"Trading session: 0000000000000001\nFrom: 0000000000000002\nTo: 3": {Kind: smp.Sending, TurnID: 1, First: 2, Second: 3},
		"Trading session: 1\r\nBuyer: 2\nSeller: 3\r\n":                    {Kind: smp.Collecting, TurnID: 1, First: 2, Second: 3},
	} {
		if got, err := smp.ParseNote(text); err != nil || got != want {
			t.Errorf("%q is read as %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestNotesRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n", "Trading session: 1", "Trading session: 1\n", "Trading session: 1\nBuyer: 2", "Trading session: 1\nBuyer: 2\n",
		"Trading session: a\nBuyer: 2\nSeller: 3\n", "Trading session: 4294967296\nBuyer: 2\nSeller: 3\n",
		"Trading session: -1\nBuyer: 2\nSeller: 3\n", "Trading session: +1\nBuyer: 2\nSeller: 3\n",
		"Trading session: 00000000000000001\nBuyer: 2\nSeller: 3\n", "Trading session: \nBuyer: 2\nSeller: 3\n",
		"Trading session: 1_0\nBuyer: 2\nSeller: 3\n", "Trading session: ١\nBuyer: 2\nSeller: 3\n",
		"Trading session:1\nBuyer: 2\nSeller: 3\n", "Trading session:  1\nBuyer: 2\nSeller: 3\n",
		"Trading session: 1 \nBuyer: 2\nSeller: 3\n", "trading session: 1\nBuyer: 2\nSeller: 3\n",
		"Trading Session: 1\nBuyer: 2\nSeller: 3\n", " Trading session: 1\nBuyer: 2\nSeller: 3\n",
		"\nTrading session: 1\nBuyer: 2\nSeller: 3\n", "Trading session: 1\nBuyer: 2\nSeller: 3\n\n",
		"Trading session: 1\nBuyer: 2\nSeller: 3\nx", "Trading session: 1\nBuyer: 2\nSeller: 3 ",
		"Trading session: 1\nBuyer: 2\nSeller: 3\r", "Trading session: 1\nBuyer: 2\nSeller: 3\n\r",
		"Trading session: 1\nBuyer: 2\nSeller: 3\r\r\n", "Trading session: 1\rBuyer: 2\rSeller: 3\r",
		"Trading session: 1\n\nBuyer: 2\nSeller: 3\n", "Trading session: 1\nBuyer: 2\nSeller: 12345678901234567\n",
		"Trading session: 1\nBuyer: 00000000000000002\nSeller: 3\n", "Trading session: 1\nBuyer: -2\nSeller: 3\n",
		"Trading session: 1\nBuyer: +2\nSeller: 3\n", "Trading session: 1\nBuyer: 0x2\nSeller: 3\n",
		"Trading session: 1\nBuyer: g\nSeller: 3\n", "Trading session: 1\nBuyer: \nSeller: 3\n",
		"Trading session: 1\nBuyer: 2\nSeller:3\n", "Trading session: 1\nBuyer:2\nSeller: 3\n",
		"Trading session: 1\nTo: 2\nFrom: 3\n", "Trading session: 1\nBuyer: 2\nBuyer: 3\n",
		"Trading session: 1\nSeller: 2\nSeller: 3\n", "Trading session: 1\nFrom: 2\nFrom: 3\n", "Trading session: 1\nTo: 2\nTo: 3\n",
		"Trading session: 1\nFrom: 2\nBuyer: 3\n", "Trading session: 1\nSeller: 2\nTo: 3\n",
		"Trading session: 1\nBroker: 2\nSeller: 3\n", "Trading session: 1\nbuyer: 2\nseller: 3\n", "Trading session: 1\nBUYER: 2\nSELLER: 3\n",
	} {
		if got, err := smp.ParseNote(text); !errors.Is(err, smp.ErrInvalidNote) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
}

func TestNotesComeBack(t *testing.T) {
	t.Parallel()
	turns := []int32{0, 1, -1, math.MinInt32, math.MaxInt32}
	ids := []swpt.CreditorID{0, 1, -1, math.MinInt64, math.MaxInt64}
	for _, kind := range noteKinds {
		for _, turn := range turns {
			for _, first := range ids {
				for _, second := range ids {
					want := smp.Note{Kind: kind, TurnID: turn, First: first, Second: second}
					if got, err := smp.ParseNote(want.String()); err != nil || got != want {
						t.Errorf("%+v comes back as %+v, %v", want, got, err)
					}
				}
			}
		}
	}
}

// noteGrammar is 7.1 as a regular expression.
var noteGrammar = regexp.MustCompile(`^Trading session: ([0-9]{1,16})\r?\n` +
	`(?:(Buyer): ([0-9A-Fa-f]{1,16})\r?\nSeller: ([0-9A-Fa-f]{1,16})(?:\r?\n)?|` +
	`(From): ([0-9A-Fa-f]{1,16})\r?\nTo: ([0-9A-Fa-f]{1,16})(?:\r?\n)?|` +
	`(Seller): ([0-9A-Fa-f]{1,16})\r?\nBuyer: ([0-9A-Fa-f]{1,16})(?:\r?\n)?)$`)

// parseByGrammar is another way of reading a note.
func parseByGrammar(text string) (note smp.Note, ok bool) {
	match := noteGrammar.FindStringSubmatch(text)
	if match == nil {
		return smp.Note{}, false
	}
	turn, err := strconv.ParseUint(match[1], 10, 32)
	if err != nil {
		return smp.Note{}, false
	}
	note.TurnID = int32(uint32(turn))
	for i, kind := range noteKinds {
		if group := match[2+3*i : 5+3*i]; group[0] != "" {
			first, firstErr := strconv.ParseUint(group[1], 16, 64)
			second, secondErr := strconv.ParseUint(group[2], 16, 64)
			if firstErr != nil || secondErr != nil {
				return smp.Note{}, false
			}
			note.Kind, note.First, note.Second = kind, swpt.CreditorID(first), swpt.CreditorID(second)
		}
	}
	return note, true
}

func checkNote(tb rapid.TB, text string) {
	tb.Helper()
	got, err := smp.ParseNote(text)
	want, ok := parseByGrammar(text)
	if got != want || (err == nil) != ok {
		tb.Fatalf("%q is read as %+v, %v; by the grammar as %+v, %v", text, got, err, want, ok)
	}
	if err != nil {
		return
	}
	if again, err := smp.ParseNote(got.String()); err != nil || again != got {
		tb.Fatalf("%+v comes back as %+v, %v", got, again, err)
	}
}

// Near misses of the grammar are judged as the grammar judges them.
func TestNotesFollowTheGrammar(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.SampledFrom([]string{"Buyer", "Seller", "From", "To", "buyer"})
		eol := rapid.SampledFrom([]string{"\n", "\r\n", "\n", "\r", "", "\n\n"})
		id := rapid.StringMatching(`[0-9a-fA-F]{1,17}`)
		text := "Trading session: " + rapid.StringMatching(`[0-9]{1,10}|[0-9a]{1,17}`).Draw(t, "turn") + eol.Draw(t, "eol1") +
			label.Draw(t, "label1") + ": " + id.Draw(t, "id1") + eol.Draw(t, "eol2") +
			label.Draw(t, "label2") + ": " + id.Draw(t, "id2") + eol.Draw(t, "eol3")
		checkNote(t, text)
	})
}

func FuzzParseNote(f *testing.F) {
	for _, kind := range noteKinds {
		note := smp.Note{Kind: kind, TurnID: -1, First: 1 << 40, Second: 123}.String()
		f.Add(note)
		f.Add(strings.ToUpper(note))
		f.Add(strings.ReplaceAll(strings.TrimSuffix(note, "\n"), "\n", "\r\n"))
	}
	f.Fuzz(func(t *testing.T, text string) { checkNote(t, text) })
}

// The six cells of 7.2: on the right account, and on all others.
func TestTradeNotes(t *testing.T) {
	t.Parallel()
	const first, second = 10, 20
	for kind, owners := range map[smp.NoteKind]struct{ negative, positive swpt.CreditorID }{
		smp.Collecting:  {second, first},
		smp.Sending:     {first, second},
		smp.Dispatching: {first, second},
	} {
		note := smp.Note{Kind: kind, TurnID: 7, First: first, Second: second}
		if note.Sender() != owners.negative || note.Recipient() != owners.positive {
			t.Errorf("%+v goes from %d to %d", note, note.Sender(), note.Recipient())
		}
		for amount, owner := range map[int64]swpt.CreditorID{-1: owners.negative, 1: owners.positive} {
			for _, creditor := range []swpt.CreditorID{first, second, 30} {
				m := &smp.AccountTransfer{
					CreditorID: creditor, AcquiredAmount: amount, TransferNoteFormat: smp.NoteFormat, TransferNote: note.String(),
				}
				got, err := m.TradeNote()
				if right := creditor == owner; (err == nil) != right || right && got != note {
					t.Errorf("%v, amount %d, creditor %d: %+v, %v", kind, amount, creditor, got, err)
				}
				if err != nil {
					assertError(t, err, smp.ErrInvalidNote)
				}
			}
		}
	}
	for _, m := range []*smp.AccountTransfer{
		{CreditorID: first, AcquiredAmount: 1, TransferNoteFormat: "", TransferNote: smp.Note{First: first}.String()},
		{CreditorID: first, AcquiredAmount: 1, TransferNoteFormat: "-cxchge", TransferNote: smp.Note{First: first}.String()},
		{CreditorID: first, AcquiredAmount: 1, TransferNoteFormat: smp.NoteFormat, TransferNote: "Trading session: 1"},
	} {
		_, err := m.TradeNote()
		assertError(t, err, smp.ErrInvalidNote)
	}
}
