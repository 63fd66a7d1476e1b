package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// shardOf returns the same deployment with the settings of a shard.
func (d *deployment) shardOf(key, queue, workerURL string) *deployment {
	s := &deployment{environment: maps.Clone(d.environment), channel: d.channel}
	maps.Copy(s.environment, map[string]string{
		"PROTOCOL_BROKER_QUEUE_ROUTING_KEY": key, "PROTOCOL_BROKER_QUEUE": queue, "INTERNAL_BROKER_QUEUE": queue + "-internal",
		"WORKER_POSTGRES_URL": workerURL, "DELETE_PARENT_SHARD_RECORDS": "true",
	})
	return s
}

// A mailman sends messages all the time: to creditors through one broker, to debtors through the other one.
type mailman struct {
	protocol, internal *amqp.Channel
	sent               int64
	stop               func()
}

func startMailman(t *testing.T, protocol, internal *amqp.Channel) *mailman {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &mailman{protocol: protocol, internal: internal}
	var working sync.WaitGroup
	working.Go(func() {
		for ctx.Err() == nil {
			id := m.sent + 1
			for _, letter := range []struct {
				channel *amqp.Channel
				message smp.Message
			}{
				{m.protocol, &smp.UpdatedFlags{CreditorID: swpt.CreditorID(id), DebtorID: 1, UpdateID: 1, TS: time.Now()}},
				{m.internal, &smp.NeededCollector{DebtorID: swpt.DebtorID(id), TS: time.Now()}},
			} {
				body, err := letter.message.AppendJSON(nil)
				if err == nil {
					err = letter.channel.PublishWithContext(context.WithoutCancel(ctx), broker.ToTrade, shard.KeyOf(id).RoutingKey(), true,
						false, amqp.Publishing{ContentType: smp.ContentType, Type: letter.message.Type(), Body: body})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			m.sent = id
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	m.stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
	})
	t.Cleanup(m.stop)
	return m
}

// copyDatabase makes one database a copy of another one, to which nobody may be connected.
func copyDatabase(t *testing.T, d *deployment, from, to string) {
	t.Helper()
	name := func(databaseURL string) string {
		parsed, err := url.Parse(databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		return pgx.Identifier{strings.TrimPrefix(parsed.Path, "/")}.Sanitize()
	}
	solver := d.openSolverDB(t)
	testenv.Eventually(t, servicePatience, func() error { // sessions need a moment to end
		_, err := solver.Pool().Exec(t.Context(), "DROP DATABASE IF EXISTS "+name(to))
		if err == nil {
			_, err = solver.Pool().Exec(t.Context(), "CREATE DATABASE "+name(to)+" TEMPLATE "+name(from))
		}
		return err
	})
}

// A shard is split in the order in which operators do it, while messages come in. Each message is handled by the half that
// owns it, or has been handled by the parent before.
func TestSplitShard(t *testing.T) {
	t.Parallel()
	d := newDeploymentOn(t, migratedDatabase(t, solverdb.Migrations()), "")
	d.environment["INTERNAL_BROKER_URL"] = testenv.NewVirtualHost(t)
	d.environment["PROTOCOL_BROKER_PREFETCH_COUNT"], d.environment["INTERNAL_BROKER_PREFETCH_COUNT"] = "50", "50"
	parent := d.shardOf("0.#", "parent", migratedDatabase(t, workerdb.Migrations()))
	children := []*deployment{
		d.shardOf("0.0.#", "child-0", testenv.NewDatabase(t)), d.shardOf("0.1.#", "child-1", testenv.NewDatabase(t)),
	}
	parent.mustRun(t, "subscribe")
	protocol := testenv.OpenChannel(t, d.environment["PROTOCOL_BROKER_URL"])
	internal := testenv.OpenChannel(t, d.environment["INTERNAL_BROKER_URL"])
	mail := startMailman(t, protocol, internal)
	run := func(d *deployment, args ...string) (stop func()) {
		stopOne, stopOther := d.start(t, append([]string{"consume_messages"}, args...)...), d.start(t, append([]string{"consume_internal_messages"}, args...)...)
		return func() { stopOne(); stopOther() }
	}

	stopConsumers := run(parent)
	testenv.Eventually(t, servicePatience, func() error { return handled(t, parent, 10, 1) })
	stopConsumers()
	stopDrainers := run(parent, "--draining-mode")
	children[0].mustRun(t, "subscribe")
	children[1].mustRun(t, "subscribe")
	parent.mustRun(t, "unsubscribe")
	parent.mustRun(t, "delete_queue")
	stopDrainers()
	for _, child := range children {
		copyDatabase(t, d, parent.environment["WORKER_POSTGRES_URL"], child.environment["WORKER_POSTGRES_URL"])
		child.mustRun(t, "configure", "worker")
		child.mustRun(t, "await_migrations")
		run(child)
	}
	mail.stop()
	testenv.Eventually(t, servicePatience, func() error {
		for i, child := range children {
			if err := handled(t, child, mail.sent, i); err != nil {
				return err
			}
		}
		return nil
	})
	t.Logf("%d messages through each broker", mail.sent)

	// The children remember which halves they are.
	swapped := d.shardOf("0.1.#", "child-1", children[0].environment["WORKER_POSTGRES_URL"])
	r := swapped.run(t.Context(), "trigger_transfers")
	if r.code != exitFailure || !strings.Contains(r.stdout, "database belongs to 0.0.#") {
		t.Errorf("as the other child: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// handled returns an error unless a shard has handled the messages about all IDs up to the last one that it owns: of
// those in the realm 0.#, the lower or upper half.
func handled(t *testing.T, d *deployment, last int64, half int) error {
	t.Helper()
	realm, err := shard.ParseWorkerRealm([]string{"0.0.#", "0.1.#"}[half])
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := postgres.ParseURL(d.environment["WORKER_POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := postgres.Connect(t.Context(), parsed)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, query := range []string{"SELECT creditor_id FROM trading_policy", "SELECT debtor_id FROM collector_task"} {
		rows, err := conn.Query(t.Context(), query)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		seen := map[int64]bool{}
		for _, id := range ids {
			seen[id] = true
		}
		for id := int64(1); id <= last; id++ {
			if realm.Match(shard.KeyOf(id)) && !seen[id] {
				return fmt.Errorf("%d of %d is missing in the result of %s", id, last, query)
			}
		}
	}
	return nil
}
