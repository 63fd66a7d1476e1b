package sweep

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/workerdb/workerdbtest"
)

// However large a table is, only the stretch of it is read that is to be read. A cached plan must do so, too.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := workerdbtest.New(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	_, err = conn.Exec(t.Context(), `
		INSERT INTO recently_needed_collector SELECT generate_series(1, 50000), now();
		ANALYZE recently_needed_collector;
		SET plan_cache_mode = force_generic_plan`)
	if err != nil {
		t.Fatal(err)
	}
	table, err := lookUp("recently_needed_collectors")
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{Sweeper: &Sweeper{}, table: table, page: 10}
	rows, err := conn.Query(t.Context(), `EXPLAIN `+table.deletion(), w.args(start, 50))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	if !strings.Contains(plan, "Tid Range Scan") || strings.Contains(plan, "Seq Scan") {
		t.Errorf("the plan is\n%s", plan)
	}
}
