package inbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

var (
	// ErrOtherShard tells that a message is addressed to a worker of another shard: something is wrong with the bindings
	// of the queue, or with the shard of this worker. The message belongs to somebody, so it must not get lost.
	ErrOtherShard = errors.New("the message belongs to another shard")

	// ErrNoRule tells that messages of a type are known, but that this program does not do what they ask for.
	ErrNoRule = errors.New("this program cannot handle messages of this type")
)

// A Handler decodes and applies messages. It implements [broker.Handler].
type Handler struct {
	Realm   shard.Realm // of the worker
	DB      *workerdb.DB
	Rules   *Rules
	Now     func() time.Time
	Metrics *Metrics
}

// reasons for which messages are rejected, as metrics show them.
var reasons = []struct {
	err    error
	reason string
}{
	{smp.ErrTooLong, "too_long"},
	{smp.ErrContentType, "content_type"},
	{smp.ErrUnknownType, "unknown_type"},
	{smp.ErrSyntax, "syntax"},
	{smp.ErrInvalid, "invalid"},
}

const otherReason = "other"

// Reasons returns the reasons for which messages are rejected, as metrics show them.
func Reasons() []string {
	all := []string{otherReason}
	for _, r := range reasons {
		all = append(all, r.reason)
	}
	return all
}

// Check decodes and validates a message. Messages that are not fit for anybody are rejected; those of other shards, and
// those for which there is no rule, are failures ([ErrOtherShard], [ErrNoRule]).
func (h *Handler) Check(d broker.Delivery) (smp.Message, error) {
	message, err := smp.Parse(d.ContentType, d.Type, d.Body)
	if err != nil {
		return nil, reject(err)
	}
	key := message.ShardKey()
	ours := h.Realm.Match(digest(key))
	if err := smp.CheckCoordinator(message, ours); err != nil {
		return nil, reject(err)
	}
	if !ours {
		return nil, fmt.Errorf("%w: %s is not in %v", ErrOtherShard, name(key), h.Realm)
	}
	if !h.Rules.has(d.Type) {
		return nil, ErrNoRule
	}
	return message, nil
}

func reject(err error) error {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return broker.Reject(r.reason, err)
		}
	}
	return broker.Reject(otherReason, err)
}

func digest(key smp.ShardKey) shard.Key {
	if key.IsText {
		return shard.KeyOfString(key.Text)
	}
	return shard.KeyOf(key.ID)
}

func name(key smp.ShardKey) string {
	if key.IsText {
		return fmt.Sprintf("%q", key.Text)
	}
	return strconv.FormatInt(key.ID, 10)
}

// Handle applies a batch in one transaction.
func (h *Handler) Handle(ctx context.Context, batch []smp.Message) error {
	now := h.Now().Truncate(time.Microsecond) // PostgreSQL does not keep more
	err := h.DB.InTx(ctx, "handle_messages", func(ctx context.Context, tx *workerdb.Tx) error {
		return h.Rules.apply(ctx, tx, now, batch)
	})
	h.Metrics.count(batch, err)
	return err
}
