package smp_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Any valid message passes its own validation, is written as JSON, and comes back.
func TestMessagesComeBack(t *testing.T) {
	t.Parallel()
	for _, name := range sampleNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sample := samples()[name]
			rapid.Check(t, func(t *rapid.T) {
				want := drawMessage(t, sample)
				if err := smp.Validate(want); err != nil {
					t.Fatalf("%+v: %v", want, err)
				}
				body, err := want.AppendJSON(nil)
				if err != nil || !json.Valid(body) || !utf8.Valid(body) {
					t.Fatalf("%+v is written as %s, %v", want, body, err)
				}
				got := blank(want)
				if err := smp.Unmarshal(body, got); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%s is read as %+v, %v", body, got, err)
				}
			})
		})
	}
}

// drawMessage draws a valid message of the sample's type.
func drawMessage(t *rapid.T, sample smp.Message) smp.Message {
	m := blank(sample)
	fields := reflect.ValueOf(m).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Tag.Get("json")
		field := fields.Field(i)
		if field.Kind() == reflect.Pointer {
			if rapid.Bool().Draw(t, name+" is null") {
				continue
			}
			field.Set(reflect.New(field.Type().Elem()))
			field = field.Elem()
		}
		field.Set(drawValue(t, m, name, field.Type()).Convert(field.Type()))
	}
	mend(m)
	return m
}

// Values with limits of their own, by the names of fields. They are the tables of section 4 in other words.
var (
	texts = map[string]*rapid.Generator[string]{
		"coordinator_type":         ascii(1, 30),
		"rejection_code":           ascii(0, 30),
		"status_code":              ascii(0, 30).Filter(func(code string) bool { return code != smp.StatusOK }),
		"recipient":                ascii(0, 100),
		"sender":                   ascii(0, 100),
		"debtor_info_content_type": ascii(0, 100),
		"debtor_info_iri":          text(0, 200, -1),
		"account_id":               text(1, 100, -1),
		"config_data":              text(0, -1, 2000),
		"transfer_note":            text(0, -1, 500),
		"transfer_note_format":     rapid.StringMatching(`[0-9A-Za-z.-]{0,8}`),
		"debtor_info_sha256":       rapid.StringMatching(`|[0-9a-f]{64}|[0-9A-F]{64}`),
	}
	floats = map[string]*rapid.Generator[float64]{
		"negligible_amount": rapid.Float64Range(0, math.MaxFloat64),
		"peg_exchange_rate": rapid.Float64Range(0, math.MaxFloat64),
		"interest_rate":     rapid.Float64Range(-100, math.MaxFloat64),
		"demurrage_rate":    rapid.Float64Range(-100, 0),
	}
	integers = map[string]*rapid.Generator[int64]{
		"amount":                  rapid.Int64Range(-math.MaxInt64, math.MaxInt64).Filter(isNotZero),
		"acquired_amount":         rapid.Int64().Filter(isNotZero),
		"debtor_id":               rapid.Int64().Filter(isNotZero), // some types allow zero
		"update_id":               rapid.Int64Range(1, math.MaxInt64),
		"transfer_note_max_bytes": rapid.Int64Range(0, 500),
		"recursion_level":         rapid.Int64Range(0, 32767),
	}
	notNegative = []string{
		"min_locked_amount", "max_locked_amount", "max_commit_delay", "committed_amount", "total_locked_amount", "locked_amount",
		"last_transfer_number", "commit_period", "ttl", "transfer_number", "previous_transfer_number",
	}
)

func isNotZero(n int64) bool { return n != 0 }

func ascii(minRunes, maxRunes int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom(nil, &unicode.RangeTable{R16: []unicode.Range16{{Lo: 1, Hi: 127, Stride: 1}}}), minRunes, maxRunes, -1)
}

func text(minRunes, maxRunes, maxBytes int) *rapid.Generator[string] {
	character := rapid.Rune().Filter(func(r rune) bool { return r != 0 && utf8.ValidRune(r) })
	return rapid.StringOfN(character, minRunes, maxRunes, maxBytes)
}

func drawValue(t *rapid.T, m smp.Message, name string, kind reflect.Type) reflect.Value {
	switch {
	case kind == reflect.TypeFor[time.Time]():
		micros := rapid.Int64Range(-62135596800_000000, 253402300799_999999).Draw(t, name)
		return reflect.ValueOf(time.UnixMicro(micros).UTC())
	case kind == reflect.TypeFor[smp.Date]():
		return reflect.ValueOf(rapid.Int64Range(-719162, 2932896).Draw(t, name))
	case kind.Kind() == reflect.Bool:
		return reflect.ValueOf(rapid.Bool().Draw(t, name))
	case kind.Kind() == reflect.Float64:
		if generator, ok := floats[name]; ok {
			return reflect.ValueOf(generator.Draw(t, name))
		}
		return reflect.ValueOf(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, name))
	case kind.Kind() == reflect.String:
		generator, ok := texts[name]
		if _, isUpdate := m.(*smp.AccountUpdate); isUpdate && name == "account_id" {
			generator = ascii(0, 100)
		} else if !ok {
			generator = text(0, -1, -1)
		}
		return reflect.ValueOf(generator.Draw(t, name))
	default:
		return drawInteger(t, name, kind)
	}
}

func drawInteger(t *rapid.T, name string, kind reflect.Type) reflect.Value {
	generator, ok := integers[name]
	if !ok {
		lowest, highest := int64(math.MinInt64), int64(math.MaxInt64)
		if kind.Kind() == reflect.Int32 {
			lowest, highest = math.MinInt32, math.MaxInt32
		}
		if slices.Contains(notNegative, name) {
			lowest = 0
		}
		generator = rapid.Int64Range(lowest, highest)
	}
	return reflect.ValueOf(generator.Draw(t, name))
}

// mend makes the fields of a message agree with each other.
func mend(m smp.Message) {
	switch m := m.(type) {
	case *smp.PrepareTransfer:
		m.MaxLockedAmount = max(m.MinLockedAmount, m.MaxLockedAmount)
		m.CoordinatorType = smp.CoordinatorAgent
	case *smp.FinalizedTransfer:
		if m.CommittedAmount > 0 {
			m.StatusCode = smp.StatusOK
		}
	case *smp.AccountTransfer:
		m.PreviousTransferNumber /= 2
		m.TransferNumber = max(m.TransferNumber, m.PreviousTransferNumber+1)
	case *smp.UpdatedPolicy:
		m.MinPrincipal, m.MaxPrincipal = min(m.MinPrincipal, m.MaxPrincipal), max(m.MinPrincipal, m.MaxPrincipal)
		if m.PegDebtorID == nil || m.PegExchangeRate == nil {
			m.PegDebtorID, m.PegExchangeRate = nil, nil
		}
	case *smp.StoreDocument:
		if m.PegDebtorInfoLocator == nil {
			m.PegDebtorID, m.PegExchangeRate = nil, nil
		} else {
			m.PegDebtorID, m.PegExchangeRate = new(swpt.DebtorID(0)), new(0.5)
		}
	}
}
