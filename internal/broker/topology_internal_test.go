package broker

import "testing"

func TestDropsDeadLetters(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"3.10.8": true, "3.11.0": true, "3.12.0": false, "3.13.7": false, "4.0.2": false, "4.1.0-rc.1": false,
		"2.8.0": true, "": false, "unknown": false,
	} {
		if got := dropsDeadLetters(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
