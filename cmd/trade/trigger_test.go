package main

import (
	"fmt"
	"testing"

	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// insertDue inserts a transfer whose time has come.
func insertDue(t *testing.T, db *workerdb.DB, creditor int) {
	t.Helper()
	_, err := db.Pool().Exec(t.Context(), `
		INSERT INTO transfer_attempt (collector_id, turn_id, debtor_id, creditor_id, is_dispatching, nominal_amount,
			collection_started_at, inserted_at, recipient, recipient_version, rescheduled_for)
		VALUES (1, 1, 1, $1, TRUE, 1000, now(), now(), '', 0, now())`, creditor)
	if err != nil {
		t.Fatal(err)
	}
}

func countTriggers(t *testing.T, db *workerdb.DB) (count int) {
	t.Helper()
	err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM outbox WHERE type = 'TriggerTransfer'").Scan(&count)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// What is due is found once, or again and again.
func TestTriggerTransfers(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure", "worker")
	db := d.openWorkerDB(t)
	insertDue(t, db, 1)
	d.mustRun(t, "trigger_transfers", "--quit-early", "-p", "0")
	if n := countTriggers(t, db); n != 0 {
		t.Errorf("%d transfers have been triggered by nobody", n)
	}
	d.mustRun(t, "trigger_transfers", "--quit-early")
	if n := countTriggers(t, db); n != 1 {
		t.Errorf("%d transfers have been triggered", n)
	}
	d.start(t, "trigger_transfers", "--processes", "2", "--wait", "0.05")
	insertDue(t, db, 2)
	testenv.Eventually(t, servicePatience, func() error {
		if n := countTriggers(t, db); n != 2 {
			return fmt.Errorf("%d transfers have been triggered", n)
		}
		return nil
	})
}
