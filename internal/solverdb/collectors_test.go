package solverdb_test

import (
	"testing"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

func TestClaimCollectorRange(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	migrate(t, db)
	for _, claimed := range [][2]swpt.CreditorID{{5, 9}, {5, 9}, {5, 10}, {-9, -5}} {
		first, last, err := db.ClaimCollectorRange(t.Context(), claimed[0], claimed[1])
		if err != nil || first != 5 || last != 9 {
			t.Errorf("who uses %v is told %d to %d, %v", claimed, first, last, err)
		}
	}
}
