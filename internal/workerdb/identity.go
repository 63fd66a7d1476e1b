package workerdb

import (
	"context"
	"fmt"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// An Identity tells whose database a worker's database is.
type Identity struct {
	Realm shard.Realm // the shard
	// The ends of the range of collector IDs. Zero: not known, or, in a claim, not used.
	MinCollectorID, MaxCollectorID swpt.CreditorID
}

// Claim has the database remember for whom it is used first, and returns for whom that was. If it does not agree with
// the claim, the claimant must leave the database alone; nothing is changed then.
//
// One change is allowed: each half of a shard begins with a copy of the shard's database. So a claimant with one more
// bit than is remembered is a half of the shard, if it says so, and is remembered from now on.
func (db *DB) Claim(ctx context.Context, claimed Identity, isHalf bool) (remembered Identity, err error) {
	err = db.InTx(ctx, "claim_database", func(ctx context.Context, tx *Tx) error {
		rows, err := tx.LockIdentity(ctx)
		if err != nil {
			return err
		}
		stored := claimed
		if len(rows) > 0 {
			if stored, err = rows[0].identity(); err != nil {
				return err
			}
		}
		remembered = stored.after(claimed, isHalf)
		if len(rows) > 0 && remembered == stored {
			return nil
		}
		return tx.StoreIdentity(ctx, remembered.row())
	})
	if err != nil {
		return Identity{}, fmt.Errorf("looking whom the database belongs to: %w", err)
	}
	return remembered, nil
}

// after returns what is to be remembered after a claim.
func (i Identity) after(claimed Identity, isHalf bool) Identity {
	wanted := i
	if isHalf && claimed.Realm.Bits() == i.Realm.Bits()+1 && claimed.Realm.Parent() == i.Realm {
		wanted.Realm = claimed.Realm
	}
	if i.MinCollectorID == 0 {
		wanted.MinCollectorID, wanted.MaxCollectorID = claimed.MinCollectorID, claimed.MaxCollectorID
	}
	if !wanted.Agrees(claimed) {
		return i
	}
	return wanted
}

// Agrees reports whether a claim is that of the owner.
func (i Identity) Agrees(claimed Identity) bool {
	sameRange := i.MinCollectorID == claimed.MinCollectorID && i.MaxCollectorID == claimed.MaxCollectorID
	return i.Realm == claimed.Realm && (sameRange || claimed.MinCollectorID == 0)
}

func (r LockIdentityRow) identity() (i Identity, err error) {
	i.Realm, err = shard.ParseWorkerRealm(r.RoutingKey)
	if r.MinCollectorID != nil {
		i.MinCollectorID, i.MaxCollectorID = *r.MinCollectorID, *r.MaxCollectorID
	}
	return i, err
}

func (i Identity) row() StoreIdentityParams {
	row := StoreIdentityParams{RoutingKey: i.Realm.String()}
	if i.MinCollectorID != 0 {
		row.MinCollectorID, row.MaxCollectorID = &i.MinCollectorID, &i.MaxCollectorID
	}
	return row
}
