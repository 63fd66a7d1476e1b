package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func insertNeeded(t *testing.T, db *workerdb.DB, debtor int, neededAt string) {
	t.Helper()
	_, err := db.Pool().Exec(t.Context(), `INSERT INTO recently_needed_collector VALUES ($1, $2::TIMESTAMPTZ)`, debtor, neededAt)
	if err != nil {
		t.Fatal(err)
	}
}

func countNeeded(t *testing.T, db *workerdb.DB) (count int) {
	t.Helper()
	if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM recently_needed_collector").Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

// Each table has a command that goes through it once, or again and again; alone, or as a part of a worker.
func TestScanCommands(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure")
	for _, table := range (config.Sweeps{}).Tables() {
		d.mustRun(t, "scan_"+table, "--quit-early")
	}
	db := d.openWorkerDB(t)
	insertNeeded(t, db, 1, "epoch")
	insertNeeded(t, db, 2, "now")
	d.mustRun(t, "scan_recently_needed_collectors", "--quit-early")
	if n := countNeeded(t, db); n != 1 {
		t.Errorf("%d rows are left", n)
	}
	const fast = "0.000001" // days
	swept := func() error {
		if n := countNeeded(t, db); n != 1 {
			return fmt.Errorf("%d rows are left", n)
		}
		return nil
	}
	stop := d.start(t, "scan_recently_needed_collectors", "--days", fast)
	insertNeeded(t, db, 1, "epoch")
	testenv.Eventually(t, servicePatience, swept)

	d.environment["APP_SINGLETON_WAIT"] = "0"
	second := d.run(t.Context(), "scan_recently_needed_collectors", "-d", "1")
	if second.code != exitFailure || !strings.Contains(second.stdout, "another scan_recently_needed_collectors is already running") {
		t.Errorf("a second one: exit code %d, %s%s", second.code, second.stdout, second.stderr)
	}
	stop()

	d.environment["APP_RECENTLY_NEEDED_COLLECTORS_SCAN_DAYS"] = fast
	d.start(t, "worker")
	insertNeeded(t, db, 1, "epoch")
	testenv.Eventually(t, servicePatience, swept)
}

func TestScanRefusesFlags(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	for _, days := range []string{"0", "-1", "soon"} {
		if r := d.run(t.Context(), "scan_worker_sendings", "-d", days); r.code != exitUsage {
			t.Errorf("-d %s: exit code %d, %s%s", days, r.code, r.stdout, r.stderr)
		}
	}
}

func TestVerifyShardContent(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	if r := d.run(t.Context(), "verify_shard_content"); r.code != exitFailure || !strings.Contains(r.stderr, "trade configure") {
		t.Errorf("without tables: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	d.mustRun(t, "configure", "worker")
	insertNeeded(t, d.openWorkerDB(t), 123, "now") // its hash begins with fc10
	d.mustRun(t, "verify_shard_content")
	d.environment["PROTOCOL_BROKER_QUEUE_ROUTING_KEY"] = "1.1.1.#"
	d.mustRun(t, "verify_shard_content")
	d.environment["PROTOCOL_BROKER_QUEUE_ROUTING_KEY"] = "1.0.#"
	r := d.run(t.Context(), "verify_shard_content")
	if r.code != exitFailure || !strings.Contains(r.stdout, "recently_needed_collector") || !strings.Contains(r.stdout, "123") {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// A database stays with its shard, and with its collector IDs. A half of the shard may take it over.
func TestDatabaseBelongsToSomebody(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure")
	d.environment["PROTOCOL_BROKER_QUEUE_ROUTING_KEY"] = "0.#"
	d.mustRun(t, "trigger_transfers", "--quit-early")
	refused := func(reason string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
		defer cancel()
		r := d.run(ctx, args...)
		if r.code != exitFailure || strings.Count(r.stdout, "configuration error: "+reason) != 1 {
			t.Errorf("trade %q: exit code %d, it says\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	const belongs = "PROTOCOL_BROKER_QUEUE_ROUTING_KEY: database belongs to 0.#"
	for _, key := range []string{"#", "1.#", "0.1.#"} {
		d.environment["PROTOCOL_BROKER_QUEUE_ROUTING_KEY"] = key
		refused(belongs, "worker")
		refused(belongs, "flush_all")
		refused(belongs, "consume_messages")
		refused(belongs, "trigger_transfers", "--quit-early")
	}
	d.environment["DELETE_PARENT_SHARD_RECORDS"] = "true"
	d.mustRun(t, "handle_pristine_collectors", "--quit-early")
	d.environment["DELETE_PARENT_SHARD_RECORDS"] = "false"
	d.mustRun(t, "configure")

	d.environment["MAX_COLLECTOR_ID"] = "0x10000000fff"
	const used = "MIN_COLLECTOR_ID: database belongs to 0x0000010000000000-0x00000100000007ff"
	refused(used, "worker")
	refused(used, "consume_messages")
	refused(used, "handle_pristine_collectors")
	d.mustRun(t, "configure")
	d.mustRun(t, "trigger_transfers", "--quit-early") // it has nothing to do with collector IDs

	d.environment["WORKER_POSTGRES_URL"] = testenv.NewDatabase(t)
	d.mustRun(t, "configure", "worker")
	refused(used, "handle_pristine_collectors") // the solver database knows, too
}
