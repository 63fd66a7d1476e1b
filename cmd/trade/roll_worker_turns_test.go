package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

func (d *deployment) openSolverDB(t *testing.T) *solverdb.DB {
	t.Helper()
	url, err := postgres.ParseURL(d.environment["SOLVER_POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	db, err := solverdb.Open(url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// startTurn has the solver begin a turn, and notify of it.
func startTurn(t *testing.T, db *solverdb.DB, turnID int) {
	t.Helper()
	err := db.InTx(t.Context(), "test", func(ctx context.Context, tx *solverdb.Tx) error {
		const insert = `INSERT INTO turn VALUES ($1, $2, 'L', 1, 10, 1000, 1, $3, NULL, NULL)`
		if _, err := tx.Exec(ctx, insert, turnID, time.Now(), time.Now().Add(time.Hour)); err != nil {
			return err
		}
		return postgres.Notify(ctx, tx, solverdb.TopicTurns)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// subphase returns how far the worker has got with a turn.
func subphase(t *testing.T, db *workerdb.DB, turnID int) (place string) {
	t.Helper()
	err := db.Pool().QueryRow(t.Context(),
		`SELECT coalesce(max(phase || ',' || subphase), 'nowhere') FROM worker_turn WHERE turn_id = $1`, turnID).Scan(&place)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

// With --quit-early, the turns are looked at once.
func TestRollWorkerTurnsOnce(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure")
	solver, worker := d.openSolverDB(t), d.openWorkerDB(t)
	startTurn(t, solver, 70000)
	d.environment["PROTOCOL_BROKER_QUEUE_ROUTING_KEY"] = "1.#"
	if got := d.mustRun(t, "roll_worker_turns", "--quit-early"); !strings.Contains(got, "has done a step of a turn") {
		t.Errorf("it says %q", got)
	}
	if got := subphase(t, worker, 70000); got != "1,10" {
		t.Errorf("the worker is at %s", got)
	}
	var reported string
	err := solver.Pool().QueryRow(t.Context(), `SELECT routing_key || ' ' || version FROM trade_worker_report`).Scan(&reported)
	if err != nil || reported != "1.# "+version() {
		t.Errorf("reported is %q, %v", reported, err)
	}
}

// A turn is noticed when the solver notifies of it, however long the pause is. There is only one such process for a
// worker.
func TestRollWorkerTurns(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure")
	solver, worker := d.openSolverDB(t), d.openWorkerDB(t)
	d.environment["APP_SINGLETON_WAIT"] = "0"
	stop := d.start(t, "roll_worker_turns", "--wait", "3600")
	for turnID := range 3 {
		startTurn(t, solver, turnID)
		testenv.Eventually(t, servicePatience, func() error {
			if got := subphase(t, worker, turnID); got != "1,10" {
				return fmt.Errorf("the worker is at %s with turn %d", got, turnID)
			}
			return nil
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
	defer cancel()
	r := d.run(ctx, "roll_worker_turns", "--quit-early")
	if r.code != exitFailure || !strings.Contains(r.stdout, "another roll_worker_turns is already running on this database") {
		t.Errorf("the second one: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	stop()
	d.mustRun(t, "roll_worker_turns", "--quit-early")
}

// Who pauses for longer than there is time for pouring offers is warned.
func TestRollWorkerTurnsWarns(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure")
	for wait, warns := range map[string]bool{"300": false, "301": true} {
		got := d.mustRun(t, "roll_worker_turns", "--quit-early", "-w", wait)
		if strings.Contains(got, "turns will be missed") != warns {
			t.Errorf("with a pause of %s s, it says %q", wait, got)
		}
	}
}

// It fails when a database is not there, or not ready: somebody else starts it again.
func TestRollWorkerTurnsFails(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.mustRun(t, "configure", "worker")
	ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
	defer cancel()
	if r := d.run(ctx, "roll_worker_turns"); r.code != exitFailure || !strings.Contains(r.stderr, "turn") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("it has not ended by itself")
	}
}
