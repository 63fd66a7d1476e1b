package smp_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/circular-trade/circular-trade/internal/smp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func goldenFile(sample string) string { return filepath.Join("testdata", "golden", sample+".json") }

// Each sample is written as its golden file says, and the golden file is read as the sample.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, m := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := encode(t, m)
			if *update {
				if err := os.WriteFile(goldenFile(name), append(body, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(goldenFile(name))
			if err != nil {
				t.Fatal(err)
			}
			if want := bytes.TrimSuffix(golden, []byte("\n")); !bytes.Equal(body, want) {
				t.Errorf("written\n%s\nwant\n%s", body, want)
			}
			assertReads(t, golden, m)
		})
	}
}

// What peers with other habits send (another order, white space, non-ASCII characters escaped) is read as well.
func TestGoldenInForeignForm(t *testing.T) {
	t.Parallel()
	for name, m := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fields map[string]any
			decoder := json.NewDecoder(bytes.NewReader(encode(t, m)))
			decoder.UseNumber()
			if err := decoder.Decode(&fields); err != nil {
				t.Fatal(err)
			}
			body, err := json.MarshalIndent(fields, "\r\n", "\t")
			if err != nil {
				t.Fatal(err)
			}
			assertReads(t, escaped(body), m)
		})
	}
}

// escaped writes every character beyond ASCII as an escape sequence.
func escaped(body []byte) []byte {
	var out []byte
	for _, r := range string(body) {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = append(out, `\u`...)
			out = append(out, strconv.FormatUint(uint64(unit)|1<<16, 16)[1:]...)
		}
	}
	return out
}

func assertReads(t *testing.T, body []byte, want smp.Message) {
	t.Helper()
	got := blank(want)
	if err := smp.Unmarshal(body, got); err != nil {
		t.Fatalf("reading %s: %v", body, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nis read as\n%#v\nwant\n%#v", body, got, want)
	}
}

// The 26 types of 4.2 to 4.5 are consumed, the three of 4.1 are not.
func TestDecodeKnowsTheConsumedTypes(t *testing.T) {
	t.Parallel()
	types := make(map[string]bool)
	consumed := make(map[string]bool)
	for _, m := range samples() {
		types[m.Type()] = true
		got, err := smp.Parse(smp.ContentType, m.Type(), encode(t, m))
		if !consumable(m) {
			assertError(t, err, smp.ErrUnknownType)
			continue
		}
		consumed[m.Type()] = true
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("Parse returns %#v, %v; want %#v", got, err, m)
		}
	}
	if len(types) != 29 || len(consumed) != 26 {
		t.Errorf("there are samples of %d types, of which %d are consumed; want 29 and 26", len(types), len(consumed))
	}
}

// The samples of 3.4, to the letter.
func TestSpecifiedSamples(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"ConfigureAccount": `{"type":"ConfigureAccount","debtor_id":666,"creditor_id":1099511627776,` +
			`"ts":"2025-01-02T03:04:05.678901+00:00","seqnum":0,"negligible_amount":1e+30,"config_data":"","config_flags":0}`,
		"FinalizeTransfer": `{"type":"FinalizeTransfer","creditor_id":123,"debtor_id":666,"transfer_id":9,` +
			`"coordinator_type":"agent","coordinator_id":123,"coordinator_request_id":77,"committed_amount":1000,` +
			`"transfer_note_format":"-cXchge","transfer_note":"Trading session: 1\nBuyer: 10000000000\nSeller: 7b\n",` +
			`"ts":"2025-01-02T03:04:05+00:00"}`,
		"FetchDebtorInfo": `{"type":"FetchDebtorInfo","iri":"https://example.com/iri","debtor_id":666,` +
			`"is_locator_fetch":false,"is_discovery_fetch":true,"forced_iri":null,"recursion_level":0,` +
			`"ts":"2025-01-02T03:04:05+00:00"}`,
	} {
		if got := encode(t, samples()[name]); string(got) != want {
			t.Errorf("written\n%s\nwant\n%s", got, want)
		}
	}
}
