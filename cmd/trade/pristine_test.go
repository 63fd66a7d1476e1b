package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// send publishes a message to the worker.
func (d *deployment) send(t *testing.T, m smp.Message) {
	t.Helper()
	body, err := m.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	publishing := amqp.Publishing{ContentType: smp.ContentType, Type: m.Type(), Body: body}
	if err := d.channel.PublishWithContext(t.Context(), broker.ToTrade, "1.1", true, false, publishing); err != nil {
		t.Fatal(err)
	}
}

// collector returns the only collector in the solver database.
func (d *deployment) collector(ctx context.Context) (id int64, status, accountID string, err error) {
	url, err := postgres.ParseURL(d.environment["SOLVER_POSTGRES_URL"])
	if err != nil {
		return 0, "", "", err
	}
	conn, err := postgres.Connect(ctx, url)
	if err != nil {
		return 0, "", "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	const query = "SELECT collector_id, status::TEXT, account_id FROM collector_account WHERE debtor_id = 1001"
	err = conn.QueryRow(ctx, query).Scan(&id, &status, &accountID)
	return id, status, accountID, err
}

func (d *deployment) mustReach(t *testing.T, wantStatus, wantID string) (id int64) {
	t.Helper()
	testenv.Eventually(t, servicePatience, func() error {
		found, status, accountID, err := d.collector(t.Context())
		if err != nil || status != wantStatus || accountID != wantID {
			return fmt.Errorf("the collector has status %q and account %q: %w", status, accountID, err)
		}
		id = found
		return nil
	})
	return id
}

// A currency that needs a collector gets one, with nothing but the commands that the parts of a worker have, and without
// waiting for any period.
func TestCollectorsLife(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.environment["FLUSH_PERIOD"], d.environment["HANDLE_PRISTINE_COLLECTORS_PERIOD"] = "3600", "3600"
	d.mustRun(t, "configure")
	if _, err := d.channel.QueueDeclare("authority", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.channel.QueueBind("authority", "#", broker.CreditorsOut, false, nil); err != nil {
		t.Fatal(err)
	}
	d.start(t, "consume_messages")
	d.start(t, "flush_all")
	d.start(t, "handle_pristine_collectors", "--threads", "2")

	d.send(t, &smp.NeededCollector{DebtorID: 1001, TS: time.Now()})
	id := d.mustReach(t, "1", "")
	testenv.Eventually(t, servicePatience, func() error {
		if n := testenv.QueueDepth(t, d.channel, "authority"); n != 1 {
			return fmt.Errorf("%d messages have been sent", n)
		}
		return nil
	})
	asked := testenv.Drain(t, d.channel, "authority")[0]
	if asked.Type != smp.TypeConfigureAccount || !strings.Contains(string(asked.Body), strconv.FormatInt(id, 10)) {
		t.Errorf("sent is %s %s", asked.Type, asked.Body)
	}
	body := fmt.Sprintf(`{"type": "AccountUpdate", "debtor_id": 1001, "creditor_id": %d, "creation_date": "2026-01-01",
		"last_change_ts": "2026-01-01T00:00:00Z", "last_change_seqnum": 1, "principal": 0, "interest": 0, "interest_rate": 0,
		"last_interest_rate_change_ts": "2026-01-01T00:00:00Z", "last_config_ts": "2026-01-01T00:00:00Z",
		"last_config_seqnum": 0, "negligible_amount": 1e30, "config_flags": 0, "config_data": "", "account_id": "7",
		"debtor_info_iri": "", "debtor_info_content_type": "", "debtor_info_sha256": "", "last_transfer_number": 0,
		"last_transfer_committed_at": "2026-01-01T00:00:00Z", "demurrage_rate": -50, "commit_period": 2592000,
		"transfer_note_max_bytes": 500, "ttl": 604800, "ts": "%s"}`, id, time.Now().UTC().Format(time.RFC3339))
	m, err := smp.Parse(smp.ContentType, smp.TypeAccountUpdate, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	d.send(t, m)
	d.mustReach(t, "2", "7")
}

func TestHandlePristineCollectorsOnce(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	ctx, cancel := context.WithTimeout(t.Context(), servicePatience)
	defer cancel()
	if r := d.run(ctx, "handle_pristine_collectors", "--quit-early"); r.code != exitFailure || r.stderr == "" {
		t.Errorf("without tables: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	d.mustRun(t, "configure")
	db := d.openWorkerDB(t)
	_, err := db.Pool().Exec(t.Context(), "INSERT INTO collector_task VALUES (1001, 0, '', now(), now())")
	if err != nil {
		t.Fatal(err)
	}
	d.mustRun(t, "handle_pristine_collectors", "--quit-early", "--wait", "5")
	if _, status, _, err := d.collector(t.Context()); status != "1" || err != nil {
		t.Errorf("the collector has status %q: %v", status, err)
	}
	var types []string
	rows, err := db.Pool().Query(t.Context(), "SELECT type FROM outbox")
	if err == nil {
		types, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || !slices.Equal(types, []string{smp.TypeConfigureAccount}) {
		t.Errorf("the outbox has %q: %v", types, err)
	}
}

// There may be only one process for a worker's database.
func TestHandlePristineCollectorsTwice(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.environment["APP_SINGLETON_WAIT"] = "0"
	d.mustRun(t, "configure")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan result, 2)
	for range 2 {
		go func() { ended <- d.run(ctx, "handle_pristine_collectors") }()
	}
	loser := <-ended
	if loser.code != exitFailure || !strings.Contains(loser.stdout, "another handle_pristine_collectors is already running") {
		t.Errorf("the one: exit code %d, %s%s", loser.code, loser.stdout, loser.stderr)
	}
	cancel()
	if winner := <-ended; winner.code != exitSuccess || winner.stderr != "" {
		t.Errorf("the other: exit code %d, %s%s", winner.code, winner.stdout, winner.stderr)
	}
}
