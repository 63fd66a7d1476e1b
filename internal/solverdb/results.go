package solverdb

import (
	"context"
	"fmt"

	"github.com/circular-trade/circular-trade/internal/shard"
)

// A Result is a table that the solver fills for workers. Each worker takes its rows away when it has copied them.
type Result struct {
	Table string
	// HashColumn tells to which worker a row belongs.
	HashColumn string
}

// Results are all those tables.
var Results = []Result{
	{"creditor_taking", "creditor_hash"},
	{"creditor_giving", "creditor_hash"},
	{"collector_collecting", "collector_hash"},
	{"collector_sending", "from_collector_hash"},
	{"collector_receiving", "to_collector_hash"},
	{"collector_dispatching", "collector_hash"},
}

// DeleteShare deletes the rows of a turn that belong to a worker, and returns how many there were.
func (tx *Tx) DeleteShare(ctx context.Context, result Result, turnID int32, realm shard.Realm) (int64, error) {
	statement := fmt.Sprintf(`DELETE FROM %s WHERE turn_id = $1 AND %s & $2::SMALLINT = $3::SMALLINT`,
		result.Table, result.HashColumn)
	tag, err := tx.Exec(ctx, statement, turnID, realm.HashMask(), realm.HashPrefix())
	if err != nil {
		return 0, fmt.Errorf("deleting a share of %s: %w", result.Table, err)
	}
	return tag.RowsAffected(), nil
}
