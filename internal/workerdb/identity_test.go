package workerdb_test

import (
	"sync"
	"testing"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

func identity(t *testing.T, routingKey string, minID, maxID swpt.CreditorID) workerdb.Identity {
	t.Helper()
	realm, err := shard.ParseRealm(routingKey)
	if err != nil {
		t.Fatal(err)
	}
	return workerdb.Identity{Realm: realm, MinCollectorID: minID, MaxCollectorID: maxID}
}

// The claims are made one after the other.
func TestClaim(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	for i, c := range []struct {
		key          string
		minID, maxID swpt.CreditorID
		isHalf       bool
		admitted     bool
		remembered   workerdb.Identity
	}{
		{"0.#", 0, 0, false, true, identity(t, "0.#", 0, 0)},
		{"0.#", 0, 0, true, true, identity(t, "0.#", 0, 0)},
		{"#", 5, 9, true, false, identity(t, "0.#", 0, 0)},
		{"1.#", 0, 0, true, false, identity(t, "0.#", 0, 0)},
		{"1.0.#", 0, 0, true, false, identity(t, "0.#", 0, 0)},
		{"0.1.#", 5, 9, false, false, identity(t, "0.#", 0, 0)}, // not even the range is remembered
		{"0.1.0.#", 0, 0, true, false, identity(t, "0.#", 0, 0)},
		{"0.#", 5, 9, false, true, identity(t, "0.#", 5, 9)},
		{"0.#", 5, 8, false, false, identity(t, "0.#", 5, 9)},
		{"0.#", 4, 9, false, false, identity(t, "0.#", 5, 9)},
		{"0.#", 0, 0, false, true, identity(t, "0.#", 5, 9)},
		{"0.1.#", 5, 8, true, false, identity(t, "0.#", 5, 9)}, // not even the half is remembered
		{"0.1.#", 5, 9, true, true, identity(t, "0.1.#", 5, 9)},
		{"0.#", 5, 9, true, false, identity(t, "0.1.#", 5, 9)},
		{"0.0.#", 5, 9, true, false, identity(t, "0.1.#", 5, 9)},
		{"0.1.#", 5, 9, false, true, identity(t, "0.1.#", 5, 9)},
		{"0.1.1.#", 0, 0, true, true, identity(t, "0.1.1.#", 5, 9)},
	} {
		claimed := identity(t, c.key, c.minID, c.maxID)
		for range 2 {
			remembered, err := db.Claim(t.Context(), claimed, c.isHalf)
			if err != nil || remembered != c.remembered || remembered.Agrees(claimed) != c.admitted {
				t.Errorf("claim %d: it is told %v, %v, want %v", i, remembered, err, c.remembered)
			}
		}
	}
}

// Of those who come at the same time, one is remembered.
func TestClaimRace(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	claims := []workerdb.Identity{identity(t, "0.#", 1, 2), identity(t, "1.#", 3, 4)}
	told := make([]workerdb.Identity, 10)
	var claimants sync.WaitGroup
	for i := range told {
		claimants.Go(func() {
			var err error
			if told[i], err = db.Claim(t.Context(), claims[i%2], false); err != nil {
				t.Error(err)
			}
		})
	}
	claimants.Wait()
	for _, remembered := range told {
		if remembered != told[0] || remembered != claims[0] && remembered != claims[1] {
			t.Errorf("they are told %v", told)
		}
	}
}
