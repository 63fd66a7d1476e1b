package book

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// FuzzTables reads anything as any of the four files. Whatever is not a sound row must become a problem that tells where
// it is; sound currencies survive being written and read again.
func FuzzTables(f *testing.F) {
	for i := range files {
		name := files[i].name + ".csv"
		f.Add(uint8(i), []byte(swap()[name]))
		f.Add(uint8(i), []byte(byteOrderMark+strings.ReplaceAll(emptyBook()[name], "\n", "\r\n")))
		f.Add(uint8(i), []byte(emptyBook()[name]+"\"\n1\"x,,\n0x1,-1,18446744073709551615,nan,inf,1e999\n"))
	}
	f.Add(uint8(currencies), []byte(currencyHeader+"T,\"a\n\"\"b\",-1,L,1,nan\nfalse,\xff,1,,1,0x1p-2\n"))
	f.Fuzz(func(t *testing.T, file uint8, text []byte) {
		i := int(file) % len(files)
		read, err := readTable(string(text), i)
		if err != nil {
			t.Fatal(err)
		}
		sound, unsound := readRows(read, i)
		if read.err != nil {
			t.Fatal(read.err)
		}
		lines := 1 + bytes.Count(text, []byte("\n"))
		for _, p := range read.problems.listed {
			if p.File != files[i].name+".csv" || p.Line < 1 || p.Line > lines || p.Reason == "" ||
				(p.Column == "") != (p.Position == 0) || !utf8.ValidString(p.String()) {
				t.Errorf("problem %+v: %s", p, p)
			}
		}
		if unsound > 0 && read.problems.total == 0 {
			t.Error("unsound rows, but no problems")
		}
		// The format cannot tell line ends in a cell apart.
		if len(sound) > 0 && !bytes.ContainsRune(text, '\r') {
			mustSurvive(t, sound)
		}
	})
}

// readRows reads a table to its end. It returns the sound currencies, and the number of all unsound rows.
func readRows(t *table, file int) (sound []solver.Currency, unsound int) {
	for t.next() {
		var c solver.Currency
		switch file {
		case currencies:
			c, _ = parseCurrency(t)
		case collectors:
			t.id(0)
			t.id(1)
		case sells:
			parseSell(t)
		case buys:
			parseBuy(t)
		}
		switch {
		case !t.sound():
			unsound++
		case file == currencies:
			sound = append(sound, c)
		}
	}
	return sound, unsound
}

func mustSurvive(t interface{ Fatal(args ...any) }, all []solver.Currency) {
	var text bytes.Buffer
	text.WriteString(currencyHeader)
	w := bufio.NewWriter(&text)
	if _, err := writeCurrencies(w, slices.Values(all)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	read, err := readTable(text.String(), currencies)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := readRows(read, currencies)
	if read.err != nil || read.problems.total > 0 {
		t.Fatal(read.err, read.problems.err())
	}
	if got, want := describe(again), describe(all); !slices.Equal(got, want) {
		t.Fatal(fmt.Sprintf("%q has become %q", want, got))
	}
}

// describe makes currencies comparable, though NaN is not.
func describe(all []solver.Currency) []string {
	var texts []string
	for _, c := range all {
		text := fmt.Sprintf("%t %q %d", c.Confirmed, c.Locator, c.DebtorID)
		if c.Peg != nil {
			text += fmt.Sprintf(" %q %d %x", c.Peg.Locator, c.Peg.DebtorID, c.Peg.Rate)
		}
		texts = append(texts, text)
	}
	return texts
}

func TestCurrenciesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		locator := rapid.StringMatching(`[a-zA-Z0-9,"\n :/é-]{1,12}`)
		mustSurvive(t, rapid.SliceOf(rapid.Custom(func(t *rapid.T) solver.Currency {
			c := solver.Currency{
				Confirmed: rapid.Bool().Draw(t, "confirmed"),
				Locator:   locator.Draw(t, "locator"),
				DebtorID:  swpt.DebtorID(rapid.Int64().Draw(t, "ID")),
			}
			if rapid.Bool().Draw(t, "pegged") {
				c.Peg = &solver.Peg{
					Locator:  locator.Draw(t, "peg locator"),
					DebtorID: swpt.DebtorID(rapid.Int64().Draw(t, "peg ID")),
					Rate:     rapid.Float64().Draw(t, "rate"),
				}
			}
			return c
		})).Draw(t, "currencies"))
	})
}
