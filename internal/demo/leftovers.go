package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

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
	allDone := s.awaitWorkDone(ctx)
	if !allDone {
		waiting, err := s.stores.unsent(ctx)
		if err != nil {
			return nil, err
		}
		if waiting > 0 {
			found = append(found, number(waiting)+plural(waiting, " message has", " messages have")+" not been sent")
		}
	}
	unhandled, dead, err := s.lettersLeft(ctx, allDone)
	if err != nil {
		return nil, err
	}
	if unhandled > 0 {
		found = append(found, number(unhandled)+plural(unhandled, " message has", " messages have")+" not been handled")
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

// awaitWorkDone waits until workers have nothing to send, and have got all that is for them. Soon that should be so: what
// is still coming is what a world says that has come to rest. Nobody waits for workers that are lost.
func (s *show) awaitWorkDone(ctx context.Context) (done bool) {
	const patience, often = 30 * time.Second, 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for s.broken() == nil && wait(ctx, often) {
		unsent, err := s.stores.unsent(ctx)
		if err != nil || unsent > 0 {
			continue
		}
		if waiting, _, err := countLetters(s.BrokerURL, s.Shards, false); err == nil && waiting == 0 {
			return true
		}
	}
	return false
}

// lettersLeft returns the number of messages that workers have not handled so far, and of those that have been given up.
// A worker keeps a message that fails, and tries it again, for ever; the broker counts it for nobody but its management
// pages. So workers are stopped: then they give back what they have.
//
// If they had got all that there was, only that counts, for the world goes on and may say something meanwhile. They may
// also give back what they have just got, and not looked at. So if there is something, they get it once more.
func (s *show) lettersLeft(ctx context.Context, gotAll bool) (unhandled, dead int, err error) {
	for tries := 3; ; {
		if err := s.fleet.stopWorkers(); err != nil {
			return 0, 0, err
		}
		unhandled, dead, err = countLetters(s.BrokerURL, s.Shards, gotAll)
		if tries--; err != nil || unhandled == 0 || tries == 0 || !gotAll {
			break
		}
		if err := s.fleet.startWorkers(); err != nil {
			return 0, 0, err
		}
		gotAll = s.awaitWorkDone(ctx)
	}
	if s.Keep && err == nil {
		err = s.resume(ctx)
	}
	return unhandled, dead, err
}

// resume starts the workers again, and waits until they tell how they are.
func (s *show) resume(ctx context.Context) error {
	if err := s.fleet.startWorkers(); err != nil {
		return err
	}
	return s.poll(ctx, "starting the workers", setUpPatience, func(ctx context.Context) (bool, error) {
		_, err := s.fleet.total(ctx, "trade_broker_messages_consumed_total")
		return err == nil, err
	})
}

// countLetters returns the number of messages that wait for workers, and of those that are in dead-letter queues. What
// workers have is not counted. Of the former, only those may be counted that workers have had before, and given back.
func countLetters(brokerURL string, shards int, givenBack bool) (waiting, dead int, err error) {
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		return 0, 0, fmt.Errorf("looking for messages: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }() // what it has taken out is put back
	channel, err := conn.Channel()
	if err != nil {
		return 0, 0, fmt.Errorf("looking for messages: %w", err)
	}
	for i := range shards {
		queue, err := channel.QueueDeclarePassive(queueName(i), true, false, false, false, nil)
		if err != nil {
			return 0, 0, fmt.Errorf("looking for messages: %w", err)
		}
		n := queue.Messages
		if givenBack {
			if n, err = countGivenBack(channel, queue.Name, queue.Messages); err != nil {
				return 0, 0, fmt.Errorf("looking for messages: %w", err)
			}
		}
		rejected, err := channel.QueueDeclarePassive(queueName(i)+".XQ", true, false, false, false, nil)
		if err != nil {
			return 0, 0, fmt.Errorf("looking for messages: %w", err)
		}
		waiting, dead = waiting+n, dead+rejected.Messages
	}
	return waiting, dead, nil
}

// countGivenBack takes so many messages out of a queue, and counts those of them that somebody has had before.
func countGivenBack(channel *amqp.Channel, queue string, messages int) (n int, err error) {
	for range messages {
		message, ok, err := channel.Get(queue, false)
		if err != nil {
			return 0, err
		}
		if ok && message.Redelivered {
			n++
		}
	}
	return n, nil
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
