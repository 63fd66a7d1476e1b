package smp_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/smp"
)

func TestSequenceNumbers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b int32
		want bool
	}{
		{1, 0, true},
		{0, 1, false},
		{0, 0, false},
		{0, -1, true},
		{math.MinInt32, math.MaxInt32, true},
		{math.MaxInt32, math.MinInt32, false},
		{-10, math.MaxInt32, true},
		{math.MinInt32, math.MinInt32, false},
		{math.MinInt32, 0, false}, // a distance of exactly 2^31
		{0, math.MinInt32, false},
		{math.MaxInt32, -1, false},
		{math.MaxInt32, 0, true},
		{math.MinInt32 + 1, 0, false},
		{1 << 30, -1 << 30, false},
	} {
		if got := smp.IsLaterSeqnum(test.a, test.b); got != test.want {
			t.Errorf("%d is later than %d: %v", test.a, test.b, got)
		}
	}
	if smp.NextSeqnum(math.MaxInt32) != math.MinInt32 || smp.NextSeqnum(-1) != 0 {
		t.Error("sequence numbers do not wrap")
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int32().Draw(t, "a"), rapid.Int32().Draw(t, "b")
		distance := (int64(a) - int64(b)) & math.MaxUint32
		if got, want := smp.IsLaterSeqnum(a, b), 0 < distance && distance < 1<<31; got != want {
			t.Fatalf("%d is later than %d: %v, want %v", a, b, got, want)
		}
		if !smp.IsLaterSeqnum(smp.NextSeqnum(a), a) {
			t.Fatalf("the successor of %d is not later", a)
		}
	})
}

func TestAccountUpdatesAreOrdered(t *testing.T) {
	t.Parallel()
	// In the order of time.
	versions := []smp.AccountVersion{
		{CreationDate: created - 1, LastChangeTS: changed.Add(time.Hour), LastChangeSeqnum: 9},
		{CreationDate: created, LastChangeTS: changed, LastChangeSeqnum: math.MaxInt32},
		{CreationDate: created, LastChangeTS: changed, LastChangeSeqnum: math.MinInt32},
		{CreationDate: created, LastChangeTS: changed, LastChangeSeqnum: -10},
		{CreationDate: created, LastChangeTS: changed.Add(time.Microsecond), LastChangeSeqnum: -11},
		{CreationDate: created + 1, LastChangeTS: changed, LastChangeSeqnum: 0},
	}
	for i, a := range versions {
		for j, b := range versions {
			b.LastChangeTS = b.LastChangeTS.In(time.FixedZone("", 3600)) // the same instant
			if got := a.IsLaterThan(b); got != (i > j) {
				t.Errorf("%+v is later than %+v: %v", a, b, got)
			}
		}
	}
	update := &smp.AccountUpdate{CreationDate: created, LastChangeTS: changed, LastChangeSeqnum: -10}
	if got := update.Version(); got != versions[3] {
		t.Errorf("the version of the update is %+v", got)
	}
}
