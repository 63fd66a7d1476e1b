package swpt_test

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

func TestParseID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0":                    0,
		"-0":                   0,
		"1":                    1,
		"007":                  7,
		"-2":                   -2,
		"18446744073709551614": -2,
		"0xfffffffffffffffe":   -2,
		"0XFFFFFFFFFFFFFFFE":   -2,
		"0xFffffffffffffffE":   -2,
		"9223372036854775807":  math.MaxInt64,
		"0x7fffffffffffffff":   math.MaxInt64,
		"9223372036854775808":  math.MinInt64,
		"-9223372036854775808": math.MinInt64,
		"0x8000000000000000":   math.MinInt64,
		"18446744073709551615": -1,
		"-1":                   -1,
		"0xffffffffffffffff":   -1,
		"0x0":                  0,
		"0x10":                 16,
		"0x00000000000000001f": 31,
	} {
		if got, err := swpt.ParseID(text); err != nil || got != want {
			t.Errorf("%q is read as %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseIDRejects(t *testing.T) {
	t.Parallel()
	const outOfRange = "out of range"
	for text, reason := range map[string]string{
		"":                        "",
		" ":                       "",
		" 1":                      "",
		"1 ":                      "",
		"1\n":                     "",
		"-":                       "",
		"--1":                     "",
		"+1":                      "",
		"-+1":                     "",
		"1.0":                     "",
		"1e3":                     "",
		"1_000":                   "",
		"0x":                      "",
		"x1":                      "",
		"ff":                      "",
		"0xg":                     "",
		"0x-1":                    "",
		"-0x1":                    "",
		"0x+1":                    "",
		"0x0x1":                   "",
		"0x1_0":                   "",
		"0b1":                     "",
		"0o7":                     "",
		"NaN":                     "",
		"１":                       "",
		"1\x00":                   "",
		"\xff":                    "",
		"18446744073709551616":    outOfRange,
		"-9223372036854775809":    outOfRange,
		"0x10000000000000000":     outOfRange,
		"99999999999999999999999": outOfRange,
	} {
		got, err := swpt.ParseID(text)
		if got != 0 || !errors.Is(err, swpt.ErrInvalidID) {
			t.Errorf("%q is read as %d, %v", text, got, err)
			continue
		}
		if !strings.Contains(err.Error(), strconv.Quote(text)) || !strings.Contains(err.Error(), reason) {
			t.Errorf("the error for %q is %q", text, err)
		}
	}
}

// FuzzParseID reads anything. What is read as an ID can be written in each of the three forms, and is then read as the
// same ID; what is not, is named in the error.
func FuzzParseID(f *testing.F) {
	for _, text := range []string{"-2", "18446744073709551614", "0xfffffffffffffffe", "0X0", "", "-", "0x", "+1", "1_0", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := swpt.ParseID(text)
		if err != nil {
			if id != 0 || !errors.Is(err, swpt.ErrInvalidID) || !strings.Contains(err.Error(), strconv.Quote(text)) {
				t.Errorf("%q is read as %d, %v", text, id, err)
			}
			return
		}
		if strings.Trim(text, "-0123456789abcdefxABCDEFX") != "" {
			t.Errorf("%q is read as %d", text, id)
		}
		for _, form := range []string{
			strconv.FormatInt(id, 10), strconv.FormatUint(uint64(id), 10), "0x" + strconv.FormatUint(uint64(id), 16),
		} {
			if got, err := swpt.ParseID(form); err != nil || got != id {
				t.Errorf("%q, which is %d, is read as %d, %v", form, id, got, err)
			}
		}
	})
}
