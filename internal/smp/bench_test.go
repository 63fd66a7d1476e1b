package smp_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/go-playground/validator/v10"

	"github.com/circular-trade/circular-trade/internal/smp"
)

// BenchmarkDecode measures reading and validating. The sub-benchmarks named "baseline" do the same, as far as they can,
// with encoding/json and the validator.
func BenchmarkDecode(b *testing.B) {
	validate := baselineValidator(b)
	for _, name := range sampleNames() {
		sample := samples()[name]
		body := encode(b, sample)
		b.Run(name+"/smp", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				m := blank(sample)
				if err := smp.Unmarshal(body, m); err != nil {
					b.Fatal(err)
				}
			}
		})
		mirror := baselineType(sample)
		b.Run(name+"/baseline", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				m := reflect.New(mirror).Interface()
				if err := json.Unmarshal(body, m); err != nil {
					b.Fatal(err)
				}
				if err := validate.Struct(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkValidate measures the validation that is a part of reading.
func BenchmarkValidate(b *testing.B) {
	for _, name := range sampleNames() {
		m := samples()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := smp.Validate(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppendJSON measures writing into a buffer that is used again.
func BenchmarkAppendJSON(b *testing.B) {
	for _, name := range sampleNames() {
		m := samples()[name]
		body := encode(b, m)
		b.Run(name+"/smp", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				var err error
				if body, err = m.AppendJSON(body[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
		mirror := reflect.New(baselineType(m)).Interface()
		if err := json.Unmarshal(body, mirror); err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/baseline", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := json.Marshal(mirror); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseNote(b *testing.B) {
	text := smp.Note{Kind: smp.Dispatching, TurnID: 7, First: collector, Second: 123}.String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := smp.ParseNote(text); err != nil {
			b.Fatal(err)
		}
	}
}

// baselineType returns a message type as one would declare it for encoding/json: with the field "type", and without the
// types that encoding/json does not know.
func baselineType(m smp.Message) reflect.Type {
	fields := []reflect.StructField{{Name: "Type", Type: reflect.TypeFor[string](), Tag: `json:"type"`}}
	for field := range reflect.TypeOf(m).Elem().Fields() {
		if field.Type == reflect.TypeFor[smp.Date]() {
			field.Type = reflect.TypeFor[string]()
		}
		fields = append(fields, reflect.StructField{Name: field.Name, Type: field.Type, Tag: field.Tag})
	}
	return reflect.StructOf(fields)
}

func baselineValidator(b *testing.B) *validator.Validate {
	b.Helper()
	v := validator.New(validator.WithRequiredStructEnabled())
	for tag, check := range map[string]validator.Func{
		"bytes": func(field validator.FieldLevel) bool {
			limit, err := strconv.Atoi(field.Param())
			return err == nil && field.Field().Len() <= limit
		},
		"noteformat": func(field validator.FieldLevel) bool { return !strings.Contains(field.Field().String(), "_") },
		"sha256hex":  func(field validator.FieldLevel) bool { return field.Field().Len()%64 == 0 },
	} {
		if err := v.RegisterValidation(tag, check); err != nil {
			b.Fatal(err)
		}
	}
	return v
}
