package adminapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestParseActivation(t *testing.T) {
	t.Parallel()
	const valid = 200
	for text, want := range map[string]struct {
		code  int
		count int64
	}{
		``:                                       {valid, 1},
		`{}`:                                     {valid, 1},
		` {"type":"ActivateCollectorsRequest"} `: {valid, 1},
		`{"numberOfAccounts":1}`:                 {valid, 1},
		`{"numberOfAccounts":9223372036854775807}`:                   {valid, math.MaxInt64},
		`{"type":"ActivateCollectorsRequest","numberOfAccounts":12}`: {valid, 12},
		`{"numberOfAccounts":9223372036854775808}`:                   {422, 0},
		`{"numberOfAccounts":0}`:                                     {422, 0},
		`{"numberOfAccounts":-1}`:                                    {422, 0},
		`{"numberOfAccounts":1.5}`:                                   {422, 0},
		`{"numberOfAccounts":1e400}`:                                 {422, 0},
		`{"numberOfAccounts":"1"}`:                                   {422, 0},
		`{"numberOfAccounts":null}`:                                  {422, 0},
		`{"numberOfAccounts":true}`:                                  {422, 0},
		`{"numberOfAccounts":[1]}`:                                   {422, 0},
		`{"NumberOfAccounts":1}`:                                     {422, 0},
		`{"type":"activateCollectorsRequest"}`:                       {422, 0},
		`{"type":""}`:                                                {422, 0},
		`{"type":null}`:                                              {422, 0},
		`{"type":1}`:                                                 {422, 0},
		`{"x":1}`:                                                    {422, 0},
		`null`:                                                       {422, 0},
		`[]`:                                                         {422, 0},
		`1`:                                                          {422, 0},
		`"{}"`:                                                       {422, 0},
		` `:                                                          {400, 0},
		`{`:                                                          {400, 0},
		`{}{}`:                                                       {400, 0},
		`{'type':1}`:                                                 {400, 0},
		`x=1`:                                                        {400, 0},
		"\xff":                                                       {400, 0},
		`{"a":1,}`:                                                   {400, 0},
		"\ufeff{}":                                                   {400, 0},
	} {
		count, refusal := parseActivation([]byte(text))
		code := valid
		if refusal != nil {
			code = refusal.Code
		}
		if code != want.code || count != want.count {
			t.Errorf("%q: %d, %d, want %+v", text, code, count, want)
		}
	}
	_, refusal := parseActivation([]byte(`{"x":1,"type":2,"numberOfAccounts":1}`))
	if got := fmt.Sprint(refusal.Errors); got != "map[json:map[type:[must be ActivateCollectorsRequest] x:[there is no such member]]]" {
		t.Errorf("the errors are %s", got)
	}
}

// What the document says about the body is what is checked.
func FuzzActivation(f *testing.F) {
	for _, text := range []string{
		`{"type":"ActivateCollectorsRequest","numberOfAccounts":12}`, `{"numberOfAccounts":null}`, `{"x":{}}`, `[]`, `1e3`,
	} {
		f.Add([]byte(text))
	}
	schema := loadDocument(f).Components.Schemas["ActivateCollectorsRequest"].Value
	f.Fuzz(func(t *testing.T, text []byte) {
		count, refusal := parseActivation(text)
		var value any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if !json.Valid(text) || decoder.Decode(&value) != nil {
			if len(text) > 0 && (refusal == nil || refusal.Code != 400) {
				t.Errorf("%q is not JSON: %d, %v", text, count, refusal)
			}
			return
		}
		invalid := schema.VisitJSON(value)
		if (refusal == nil) != (invalid == nil) && !isRoundFloat(value) {
			t.Errorf("%q: %v, but in the schema: %v", text, refusal, invalid)
		}
		if refusal == nil && count < 1 {
			t.Errorf("%q: %d", text, count)
		}
	})
}

// isRoundFloat reports whether the number is an integer only for a schema: 1.0, 1e3, or one that is too large.
func isRoundFloat(value any) bool {
	members, _ := value.(map[string]any)
	number, ok := members["numberOfAccounts"].(json.Number)
	if !ok {
		return false
	}
	_, err := number.Int64()
	return err != nil
}

// loadDocument returns the OpenAPI document, which has been validated.
func loadDocument(tb testing.TB) *openapi3.T {
	tb.Helper()
	routes, err := new(API).routes()
	if err != nil {
		tb.Fatal(err)
	}
	text := get(tb, routes, "/trade/.docs/openapi.json")
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		tb.Fatal(err)
	}
	if err := document.Validate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return document
}
