package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

// leftovers returns what should not be there when all is over, apart from what the world sees.
func (s *show) leftovers(ctx context.Context) (found []string, err error) {
	waiting, err := s.stores.unsent(ctx)
	if err != nil {
		return nil, err
	}
	if waiting > 0 {
		found = append(found, number(waiting)+" messages have not been sent")
	}
	dead, err := deadLetters(s.BrokerURL, s.Shards)
	if err != nil {
		return nil, err
	}
	if dead > 0 {
		found = append(found, number(dead)+" messages could not be handled, and are in dead-letter queues")
	}
	crashes, err := s.fleet.crashes()
	return append(found, crashes...), err
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

// deadLetters returns the number of messages that no worker could handle.
func deadLetters(brokerURL string, shards int) (total int, err error) {
	conn, err := amqp.Dial(brokerURL)
	if err != nil {
		return 0, fmt.Errorf("looking for dead letters: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	channel, err := conn.Channel()
	if err != nil {
		return 0, fmt.Errorf("looking for dead letters: %w", err)
	}
	for i := range shards {
		queue, err := channel.QueueDeclarePassive(queueName(i)+".XQ", true, false, false, false, nil)
		if err != nil {
			return 0, fmt.Errorf("looking for dead letters: %w", err)
		}
		total += queue.Messages
	}
	return total, nil
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
