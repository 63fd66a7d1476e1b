package adminapi

import (
	"context"
	"testing"
)

// A request that has ended is not served, and takes nobody's place.
func TestNoSlotForEndedRequests(t *testing.T) {
	t.Parallel()
	s := newSlots(DefaultLimits(1))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if s.acquire(ended) {
			t.Fatal("a request that has ended gets a slot")
		}
	}
	if !s.acquire(t.Context()) {
		t.Error("there is no slot for others")
	}
	for range 10 {
		if s.acquire(ended) {
			t.Fatal("a request that has ended gets a slot that is not free")
		}
	}
}
