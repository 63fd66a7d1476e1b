package sweep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A ForeignRowError tells that a row belongs to another shard than the one whose database it is in.
type ForeignRowError struct {
	Table  string
	Column string // that decides about it
	Key    string // the value of that column
}

// Error names the row.
func (e *ForeignRowError) Error() string {
	return fmt.Sprintf("the row of %s with the %s %s belongs to another shard", e.Table, e.Column, e.Key)
}

// A Verification looks whether everything in a database belongs to a shard: the tables that are swept, and messages to
// accounting authorities that wait to be sent. It changes nothing.
type Verification struct {
	DB      *workerdb.DB
	Realm   shard.Realm   // of the shard
	Portion int           // rows that are read at a time, at least 1
	Pause   time.Duration // after each portion
}

// Verify returns a [ForeignRowError] for the first row that belongs to another shard.
func (v *Verification) Verify(ctx context.Context) error {
	for i := range tables {
		t := &tables[i]
		if err := v.verify(ctx, t.relation, t.shardKey, t.isTextual, ""); err != nil {
			return err
		}
	}
	for _, messageType := range []string{smp.TypeConfigureAccount, smp.TypePrepareTransfer, smp.TypeFinalizeTransfer} {
		if err := v.verify(ctx, "outbox", "creditor_id", false, messageType); err != nil {
			return err
		}
	}
	return nil
}

// verify looks at a table, or at messages of one type.
func (v *Verification) verify(ctx context.Context, relation, column string, isTextual bool, messageType string) error {
	query := fmt.Sprintf(`SELECT %s FROM %s`, column, relation)
	var args []any
	if messageType != "" {
		query += ` WHERE type = $1`
		args = append(args, messageType)
	}
	err := v.DB.InTx(ctx, "verify_shard_content", func(ctx context.Context, tx *workerdb.Tx) error {
		for keys, err := range postgres.Portions(ctx, tx, v.Portion, scanKey(isTextual), query, args...) {
			if err != nil {
				return err
			}
			for _, key := range keys {
				if !v.Realm.Match(key.place) {
					return &ForeignRowError{Table: relation, Column: column, Key: key.text()}
				}
			}
			select {
			case <-time.After(v.Pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if foreign, ok := errors.AsType[*ForeignRowError](err); ok {
		return foreign
	}
	if err != nil {
		return fmt.Errorf("looking which shard the rows of %s belong to: %w", relation, err)
	}
	return nil
}

// A key decides about the shard of a row. It is a number, or a text.
type key struct {
	place   shard.Key
	number  int64
	locator string
}

func (k *key) text() string {
	if k.locator != "" {
		return k.locator
	}
	return strconv.FormatInt(k.number, 10)
}

func scanKey(isTextual bool) func(pgx.CollectableRow, *key) error {
	if isTextual {
		return func(row pgx.CollectableRow, k *key) error {
			err := row.Scan(&k.locator)
			k.place = shard.KeyOfString(k.locator)
			return err
		}
	}
	return func(row pgx.CollectableRow, k *key) error {
		err := row.Scan(&k.number)
		k.place = shard.KeyOf(k.number)
		return err
	}
}
