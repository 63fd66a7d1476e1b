package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
)

// leftovers returns what should not be there when all is over, apart from what the world sees.
func (s *show) leftovers(ctx context.Context) (found []string, err error) {
	failures, err := s.stores.failures(ctx)
	if err != nil {
		return nil, err
	}
	for _, failure := range failures {
		found = append(found, "a market has not been cleared: "+failure)
	}
	waiting, err := s.stores.unsent(ctx)
	if err != nil {
		return nil, err
	}
	if waiting > 0 {
		found = append(found, number(waiting)+" messages have not been sent")
	}
	unhandled, dead, err := lettersLeft(s.BrokerURL, s.Shards)
	if err != nil {
		return nil, err
	}
	if unhandled > 0 {
		found = append(found, number(unhandled)+" messages have not been handled")
	}
	if dead > 0 {
		found = append(found, number(dead)+" messages could not be handled, and are in dead-letter queues")
	}
	crashes, err := s.fleet.crashes()
	return append(found, crashes...), err
}

// failures returns why turns have ended without results.
func (s *stores) failures(ctx context.Context) ([]string, error) {
	rows, err := s.solver.Pool().Query(ctx, "SELECT failure FROM trade_turn_summary WHERE failure IS NOT NULL ORDER BY turn_id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// unsent returns the number of messages in outboxes.
func (s *stores) unsent(ctx context.Context) (total int, err error) {
	for _, db := range s.workers {
		n := 0
		if err := db.Pool().QueryRow(ctx, "SELECT count(*) FROM outbox").Scan(&n); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// revisions returns the number of messages in outboxes that have account locks revised.
func (s *stores) revisions(ctx context.Context) (total int, err error) {
	for _, db := range s.workers {
		n := 0
		const query = "SELECT count(*) FROM outbox WHERE type = 'ReviseAccountLock' AND retry_at IS NULL"
		if err := db.Pool().QueryRow(ctx, query).Scan(&n); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// lettersLeft returns the number of messages that wait for workers, and of those that no worker could handle. What a
// worker is just handling is not counted.
func lettersLeft(brokerURL string, shards int) (unhandled, dead int, err error) {
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		return 0, 0, fmt.Errorf("looking for messages: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	channel, err := conn.Channel()
	if err != nil {
		return 0, 0, fmt.Errorf("looking for messages: %w", err)
	}
	for i := range shards {
		queue, err := channel.QueueDeclarePassive(queueName(i), true, false, false, false, nil)
		if err != nil {
			return 0, 0, fmt.Errorf("looking for messages: %w", err)
		}
		rejected, err := channel.QueueDeclarePassive(queueName(i)+".XQ", true, false, false, false, nil)
		if err != nil {
			return 0, 0, fmt.Errorf("looking for messages: %w", err)
		}
		unhandled, dead = unhandled+queue.Messages, dead+rejected.Messages
	}
	return unhandled, dead, nil
}

// crashes returns which processes have said that something in them has crashed. Most of them go on nevertheless.
func (f *fleet) crashes() (found []string, err error) {
	for _, name := range f.names() {
		log, err := os.ReadFile(f.logFile(name))
		if err != nil {
			return nil, err
		}
		for _, mark := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if bytes.Contains(log, []byte(mark)) {
				found = append(found, fmt.Sprintf("%q is in %s", mark, f.logFile(name)))
			}
		}
	}
	return found, nil
}
