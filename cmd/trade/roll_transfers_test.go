package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

// addStatus adds a dispatching status that has nothing to wait for.
func (d *deployment) addStatus(t *testing.T, debtorID int) {
	t.Helper()
	_, err := d.openWorkerDB(t).Pool().Exec(t.Context(), `
		INSERT INTO dispatching_status (
			collector_id, turn_id, debtor_id, inserted_at,
			amount_to_collect, amount_own_sold, amount_to_send, amount_to_receive, number_to_receive, amount_to_dispatch
		) VALUES (1099511627776, 1, $1, now(), 0, 0, 0, 0, 0, 0)`, debtorID)
	if err != nil {
		t.Fatal(err)
	}
}

// signals returns how many messages there are in the outbox.
func (d *deployment) signals(t *testing.T) (signals int) {
	t.Helper()
	err := d.openWorkerDB(t).Pool().QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE type = 'StartSending'`).Scan(&signals)
	if err != nil {
		t.Fatal(err)
	}
	return signals
}

func TestRollTransfers(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure")
	d.addStatus(t, 1)
	d.mustRun(t, "roll_transfers", "--quit-early")
	if got := d.signals(t); got != 1 {
		t.Fatalf("there are %d messages", got)
	}
	stop := d.start(t, "roll_transfers", "--wait", "0.05")
	d.addStatus(t, 2)
	testenv.Eventually(t, servicePatience, func() error {
		if got := d.signals(t); got != 2 {
			return fmt.Errorf("there are %d messages", got)
		}
		return nil
	})

	// By now, that one holds the lock.
	d.environment["APP_SINGLETON_WAIT"] = "0"
	ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
	defer cancel()
	second := d.run(ctx, "roll_transfers")
	if second.code != exitFailure || !strings.Contains(second.stdout, "another roll_transfers is already running on this database") {
		t.Errorf("a second one: exit code %d, %s%s", second.code, second.stdout, second.stderr)
	}
	stop()
	d.mustRun(t, "roll_transfers", "--quit-early")
}

func TestRollTransfersRefusesFlags(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	for _, wait := range []string{"-1", "NaN", "1e10", "+Inf", "soon"} {
		if r := d.run(t.Context(), "roll_transfers", "--wait", wait); r.code != exitUsage {
			t.Errorf("--wait %s: exit code %d, %s%s", wait, r.code, r.stdout, r.stderr)
		}
	}
}

// A database that is not there, or has no tables, is a failure.
func TestRollTransfersWithoutTables(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	if r := d.run(t.Context(), "roll_transfers", "--quit-early"); r.code != exitFailure {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}
