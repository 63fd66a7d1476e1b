package smp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// FuzzUnmarshal reads anything as a message of any type.
func FuzzUnmarshal(f *testing.F) {
	var all []smp.Message
	for i, name := range sampleNames() {
		all = append(all, samples()[name])
		f.Add(uint8(i), encode(f, all[i]))
	}
	for _, body := range []string{
		`{"debtor_id":1,"debtor_id":2,"type":"NeededCollector","ts":"2025-01-02 03:04:05.6+0100","x":[{"y":[null,true,-1.5e-7]}]}`,
		`{"debtor\u005fid":-0,"ts":"2025-01-02T03:04Z"}`, `{"iri":"\ud83d\ude00\ud800\u0000"}`, `[]`, `{}`, `{"interest":1E400}`,
	} {
		f.Add(uint8(0), []byte(body))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		checkUnmarshal(t, body, blank(all[int(which)%len(all)]))
	})
}

// FuzzField reads valid messages in which one field has been replaced by anything.
func FuzzField(f *testing.F) {
	var all []smp.Message
	for i, name := range sampleNames() {
		all = append(all, samples()[name])
		for field := range reflect.TypeOf(all[i]).Elem().NumField() {
			f.Add(uint8(i), uint8(field), []byte(`null`))
		}
	}
	for i, value := range []string{
		`0`, `-0.0`, `1e30`, `9223372036854775808`, `"2025-01-02 03:04:05.6+0100"`, `"1970-01-01"`, `true`, `""`, `"\u0041\ud83d\ude00"`,
		`[{}]`, `1,"x":2`,
	} {
		f.Add(uint8(i), uint8(i), []byte(value))
	}
	f.Fuzz(func(t *testing.T, which, field uint8, value []byte) {
		m := all[int(which)%len(all)]
		fields := reflect.TypeOf(m).Elem()
		name := fields.Field(int(field) % fields.NumField()).Tag.Get("json")
		body := encode(t, m)
		body = append(body[:len(body)-1], `,"`+name+`":`...)
		checkUnmarshal(t, append(append(body, value...), '}'), blank(m))
	})
}

// checkUnmarshal makes sure that what is JSON is decided as encoding/json decides it, that what is read has the values
// that encoding/json finds, and that it can be written and read again.
func checkUnmarshal(t *testing.T, body []byte, m smp.Message) {
	t.Helper()
	err := smp.Unmarshal(body, m)
	object := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
	if isJSON := object && utf8.Valid(body) && json.Valid(body); isJSON == errors.Is(err, smp.ErrSyntax) {
		t.Fatalf("%q is JSON: %v; the error is %v", body, isJSON, err)
	}
	if err != nil {
		return
	}
	compareWithOracle(t, body, m)
	if err := smp.Validate(m); err != nil {
		t.Fatalf("%q has been read, but is not valid: %v", body, err)
	}
	again := encode(t, m)
	if !json.Valid(again) {
		t.Fatalf("%q is written as %q", body, again)
	}
	assertReads(t, again, m)
}

// compareWithOracle compares the fields that need no interpretation with what encoding/json reads.
func compareWithOracle(t *testing.T, body []byte, m smp.Message) {
	t.Helper()
	var want map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if want["type"] != m.Type() {
		t.Fatalf("%q is read as %s", body, m.Type())
	}
	fields := reflect.ValueOf(m).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Tag.Get("json")
		field := fields.Field(i)
		if field.Kind() == reflect.Pointer {
			if (want[name] == nil) != field.IsNil() {
				t.Fatalf("%q: %s is %v", body, name, field)
			}
			if field.IsNil() {
				continue
			}
			field = field.Elem()
		}
		if field.Type() != reflect.TypeFor[smp.Date]() && !equalsOracle(field, want[name]) {
			t.Fatalf("%q: %s is %v, want %v", body, name, field, want[name])
		}
	}
}

func equalsOracle(field reflect.Value, want any) bool {
	switch field.Kind() {
	case reflect.String:
		return field.String() == want
	case reflect.Bool:
		return field.Bool() == want
	case reflect.Float64:
		value, err := want.(json.Number).Float64()
		return err == nil && field.Float() == value
	case reflect.Int32, reflect.Int64:
		value, err := strconv.ParseInt(want.(json.Number).String(), 10, 64)
		return err == nil && field.Int() == value
	default:
		return true // instants have tests of their own
	}
}
