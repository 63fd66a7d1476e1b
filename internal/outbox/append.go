package outbox

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Append appends messages to the outbox. They will be sent when the transaction has been committed. It is for up to some
// thousands of messages; see [AppendAll] for more.
//
// A message that its own type's rules forbid (see [smp.Validate]) is an error, and a mistake in the program: the receiver
// would reject it.
func Append(ctx context.Context, tx *workerdb.Tx, messages ...smp.Outgoing) error {
	if len(messages) == 0 {
		return nil
	}
	var (
		params workerdb.AppendToOutboxParams
		topics = topics{}
		buffer []byte
	)
	for _, m := range messages {
		body, err := encode(buffer[:0], m)
		if err != nil {
			return err
		}
		buffer = body
		envelope := m.Envelope()
		params.Types = append(params.Types, envelope.Type)
		params.ShardKeys = append(params.ShardKeys, shardKey(envelope.Key))
		params.CreditorIDs = append(params.CreditorIDs, int64(envelope.CreditorID))
		params.DebtorIDs = append(params.DebtorIDs, int64(envelope.DebtorID))
		params.CoordinatorIDs = append(params.CoordinatorIDs, envelope.CoordinatorID)
		params.CoordinatorTypes = append(params.CoordinatorTypes, envelope.CoordinatorType)
		params.Bodies = append(params.Bodies, string(body))
		topics.add(tx, envelope.Type)
	}
	if err := tx.AppendToOutbox(ctx, params); err != nil {
		return fmt.Errorf("appending %d messages to the outbox: %w", len(messages), err)
	}
	return nil
}

// AppendAll appends any number of messages to the outbox, and returns how many there were. It does the same as [Append],
// twice as fast, but with more round trips to the database. It holds no more than one message in memory, and does not
// use a message any more when it asks for the next one, so the same one may be filled again and again.
//
// The messages must not be read from the transaction meanwhile: its connection is busy with taking messages in. If they
// come from a cursor of the transaction, append them in portions. An error that comes instead of a message is returned.
func AppendAll(ctx context.Context, tx *workerdb.Tx, messages iter.Seq2[smp.Outgoing, error]) (int64, error) {
	next, stop := iter.Pull2(messages)
	defer stop()
	var (
		topics  = topics{}
		values  = make([]any, len(columns))
		buffer  []byte
		failure error // of the source; the database would tell only its text
	)
	rows := pgx.CopyFromFunc(func() ([]any, error) {
		m, err, ok := next()
		if err == nil && ok {
			buffer, err = encode(buffer[:0], m)
		}
		if err != nil || !ok {
			failure = err
			return nil, err
		}
		envelope := m.Envelope()
		topics.add(tx, envelope.Type)
		values[0] = envelope.Type
		values[1] = shardKey(envelope.Key)
		values[2] = int64(envelope.CreditorID)
		values[3] = int64(envelope.DebtorID)
		values[4] = envelope.CoordinatorID
		values[5] = envelope.CoordinatorType
		values[6] = buffer
		return values, nil
	})
	count, err := tx.CopyFrom(ctx, pgx.Identifier{"outbox"}, columns, rows)
	if failure != nil {
		return 0, failure
	}
	if err != nil {
		return 0, fmt.Errorf("copying messages to the outbox: %w", err)
	}
	return count, nil
}

// columns are those that are copied, in this order.
var columns = []string{"type", "shard_key", "creditor_id", "debtor_id", "coordinator_id", "coordinator_type", "body"}

// topics remembers which types of messages the commit is going to tell of.
type topics map[string]struct{}

func (t topics) add(tx *workerdb.Tx, typeName string) {
	if _, found := t[typeName]; !found {
		t[typeName] = struct{}{}
		tx.NotifyOnCommit(topicOf(typeName))
	}
}

// encode appends the body of a message that may be sent to dst.
func encode(dst []byte, m smp.Outgoing) ([]byte, error) {
	if err := smp.Validate(m); err != nil {
		return dst, fmt.Errorf("appending to the outbox what nobody would accept: %w", err)
	}
	body, err := m.AppendJSON(dst)
	if err != nil {
		return dst, fmt.Errorf("appending to the outbox what cannot be written: %w", err)
	}
	return body, nil
}

func shardKey(key smp.ShardKey) int32 {
	digest := shard.KeyOf(key.ID)
	if key.IsText {
		digest = shard.KeyOfString(key.Text)
	}
	return int32(digest) //nolint:gosec // 32 bits, which the database takes for a signed number
}
