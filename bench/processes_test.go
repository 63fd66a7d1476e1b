package main

import (
	"testing"
	"time"
)

// Names of processes may contain anything.
func TestParseProcess(t *testing.T) {
	t.Parallel()
	const line = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 5000 1000000 100 18446744073709551615"
	want := process{name: "a) b (c", parent: 7, cpu: 330 * time.Millisecond, ended: 770 * time.Millisecond}
	if got, err := parseProcess(line); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "42", "42 (a", "42 (a) S 7", "42 (a) S 7 42 42 0 -1 4194560 100 200 0 0 x 22 33 44 20"} {
		if got, err := parseProcess(bad); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

// A team is a process with all that it has started, and what has ended of that.
func TestTeam(t *testing.T) {
	t.Parallel()
	all := map[int]process{
		1: {parent: 0, cpu: 100, ended: 1000}, 2: {parent: 1, cpu: 1, ended: 10}, 3: {parent: 2, cpu: 2}, 4: {parent: 1, cpu: 4},
		5: {parent: 6, cpu: 8},
	}
	if got := (team{process: 2, withChildren: true}).cpu(all); got != 13 {
		t.Errorf("with children: %d", got)
	}
	if got := (team{process: 1}).cpu(all); got != 100 {
		t.Errorf("alone: %d", got)
	}
}
