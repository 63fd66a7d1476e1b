package demo

import (
	"strings"
	"testing"
	"time"
)

func TestWriteTable(t *testing.T) {
	t.Parallel()
	moving, failure := 1300*time.Millisecond, "the prices make no sense"
	var out strings.Builder
	err := writeTable(&out, []turnRow{
		{
			id: 1, traded: 7, priced: 8, offers: 1045, served: 16, traders: 20, value: 5343050.7, transfers: 45,
			phase1: 2 * time.Second, phase2: 5250 * time.Millisecond, phase3: 80 * time.Millisecond,
			reading: 3 * time.Millisecond, clearing: 400 * time.Microsecond, writing: 120 * time.Millisecond, moving: &moving,
		},
		{id: 2, failure: &failure, phase1: 2 * time.Second, phase2: 5 * time.Second},
	})
	const want = `turn  currencies  offers  traders   value      transfers  phase 1  phase 2  read  clear  write  phase 3  tokens moved
1     7 of 8      1,045   16 of 20  5,343,050  45         2.0 s    5.2 s    3 ms  0 ms   0.1 s  80 ms    1.3 s
2     0 of 0      0       0 of 0    0          0          2.0 s    5.0 s    0 ms  0 ms   0 ms   0 ms     -
Turn 2 had to go on without results: the prices make no sense
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, &out)
	}
}
