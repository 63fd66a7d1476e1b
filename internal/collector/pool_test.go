package collector

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

var defaultPool = Pool{0x10000000000, 0x100000007ff}

// These IDs have been computed by another program. They must never change: processes of different releases have to agree.
func TestIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		debtor swpt.DebtorID
		pool   Pool
		want   []swpt.CreditorID
	}{
		{1, defaultPool, []swpt.CreditorID{1099511629410, 1099511628980, 1099511628642, 1099511628444}},
		{math.MinInt64, defaultPool, []swpt.CreditorID{1099511628071, 1099511628278, 1099511628205}},
		{666, Pool{math.MinInt64, -1}, []swpt.CreditorID{-1724452939167593009, -1581232379787758073, -909021029526013059}},
		{7, Pool{1, math.MaxInt64}, []swpt.CreditorID{7556358740424567529, 5760544504419808237, 977826223779476389}},
		{5, Pool{42, 42}, []swpt.CreditorID{42, 42}},
	} {
		var got []swpt.CreditorID
		for id := range c.pool.IDs(c.debtor) {
			if got = append(got, id); len(got) == len(c.want) {
				break
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("debtor %d in %v: %v, want %v", c.debtor, c.pool, got, c.want)
		}
	}
}

func TestUsableIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pool         Pool
		size, usable uint64
	}{
		{defaultPool, 2048, 1536},
		{Pool{7, 8}, 2, 1},
		{Pool{7, 7}, 1, 0},
		{Pool{-9, -7}, 3, 2},
		{Pool{1, math.MaxInt64}, math.MaxInt64, 6917529027641081855},
		{Pool{math.MinInt64, -1}, 1 << 63, 6917529027641081856},
	} {
		if size, usable := c.pool.size(), c.pool.usable(); size != c.size || usable != c.usable {
			t.Errorf("%v: %d IDs, %d usable; want %d, %d", c.pool, size, usable, c.size, c.usable)
		}
	}
}

func TestContains(t *testing.T) {
	t.Parallel()
	for id, want := range map[swpt.CreditorID]bool{
		0xffffffffff: false, 0x10000000000: true, 0x100000007ff: true, 0x10000000800: false, 0: false, -0x10000000000: false,
	} {
		if defaultPool.Contains(id) != want {
			t.Errorf("%x: wrong", int64(id))
		}
	}
}

// rowsOf returns the rows of the first collectors in a debtor's sequence, with these statuses.
func rowsOf(pool Pool, debtor swpt.DebtorID, statuses ...int16) (rows []solverdb.CollectorsOfDebtorRow) {
	for i, id := range pool.next(debtor, map[swpt.CreditorID]bool{}, len(statuses)) {
		rows = append(rows, solverdb.CollectorsOfDebtorRow{CollectorID: id, Status: statuses[i]})
	}
	return rows
}

func TestMissingCollectors(t *testing.T) {
	t.Parallel()
	first := defaultPool.next(1, map[swpt.CreditorID]bool{}, 6)
	small := Pool{7, 10} // three of four can be used
	for name, c := range map[string]struct {
		pool     Pool
		statuses []int16 // of the collectors that there are
		n        int64
		want     []swpt.CreditorID
		err      error
	}{
		"first":                 {defaultPool, nil, 1, first[:1], nil},
		"enough":                {defaultPool, []int16{0, 1, 2}, 3, nil, nil},
		"more than enough":      {defaultPool, []int16{0, 1, 2}, 1, nil, nil},
		"none wanted":           {defaultPool, nil, 0, nil, nil},
		"fewer than none":       {defaultPool, nil, math.MinInt64, nil, nil},
		"some more":             {defaultPool, []int16{2, 2}, 4, first[2:4], nil},
		"disabled do not count": {defaultPool, []int16{3, 2, 3, 1}, 4, first[4:6], nil},
		"one too many":          {defaultPool, nil, 1537, nil, ErrPoolTooSmall},
		"the limit":             {defaultPool, nil, MaxCollectors + 1, nil, ErrTooMany},
		"absurd":                {Pool{1, math.MaxInt64}, nil, math.MaxInt64, nil, ErrTooMany},
		"no room beside dead":   {small, []int16{3, 3, 3}, 1, nil, ErrPoolTooSmall},
		"as many as there can be, whatever they are": {small, []int16{3, 3, 2}, 1, nil, nil},
		"a single ID": {Pool{7, 7}, nil, 1, nil, ErrPoolTooSmall},
	} {
		got, err := c.pool.missing(1, rowsOf(c.pool, 1, c.statuses...), c.n)
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v; want %v, %v", name, got, err, c.want, c.err)
		}
	}
	if ids, err := defaultPool.missing(1, nil, 1536); len(ids) != 1536 || err != nil {
		t.Errorf("all usable IDs: %d, %v", len(ids), err)
	}
}

// Whatever is there, the missing IDs are new, different, in the pool, and there are as many as asked for.
func TestMissingCollectorsAreNew(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		first := swpt.CreditorID(rapid.Int64Range(1, 1000).Draw(rt, "first"))
		pool := Pool{first, first + swpt.CreditorID(rapid.Int64Range(0, 60).Draw(rt, "size"))}
		debtor := swpt.DebtorID(rapid.Int64().Draw(rt, "debtor"))
		used, alive, dead := map[swpt.CreditorID]bool{}, 0, 0
		var rows []solverdb.CollectorsOfDebtorRow
		for id := pool.First; id <= pool.Last; id++ {
			if status := rapid.Int16Range(-3, 3).Draw(rt, "status"); status >= 0 {
				rows, used[id] = append(rows, solverdb.CollectorsOfDebtorRow{CollectorID: id, Status: status}), true
				if status == statusDisabled {
					dead++
				} else {
					alive++
				}
			}
		}
		n := rapid.IntRange(0, 60).Draw(rt, "n")
		ids, err := pool.missing(debtor, rows, int64(n))
		switch fits := dead+n <= 3*int(pool.size())/4; {
		case n <= alive && (err != nil || len(ids) > 0), n > alive && fits != (err == nil), n > alive && fits && len(ids) != n-alive:
			rt.Fatalf("%d alive and %d dead of %d, %d wanted: %v, %v", alive, dead, pool.size(), n, ids, err)
		}
		for _, id := range ids {
			if !pool.Contains(id) || used[id] {
				rt.Fatalf("%d is used, or not in %v", id, pool)
			}
			used[id] = true
		}
	})
}
