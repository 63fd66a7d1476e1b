package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Rule applies all messages of one type in a batch, in the batch's transaction. The outcome must be that of applying
// them one by one, in some order. A rule may be called again with the same messages: when the transaction has lost a race,
// when the batch has failed and its messages are handled one by one, and when they have been handled before, but the
// broker does not know.
type Rule[M smp.Message] func(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []M) error

// Rules are the rules for messages of all types. The zero value has none.
type Rules struct {
	applied []typeRule // in the order in which they are applied to a batch
}

// A typeRule applies the messages of its type in a batch of messages of all types.
type typeRule struct {
	messageType string
	apply       func(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []smp.Message) error
}

// Add adds the rule for messages of type M. Rules are applied to a batch in the order in which they have been added. Two
// rules for one type are a mistake in the program, and make Add panic.
func Add[M smp.Message](rules *Rules, rule Rule[M]) {
	var none M
	messageType := none.Type()
	if rules.has(messageType) {
		panic("inbox: two rules for messages of type " + messageType)
	}
	rules.applied = append(rules.applied, typeRule{
		messageType: messageType,
		apply: func(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []smp.Message) error {
			var messages []M
			for _, message := range batch {
				if m, ok := message.(M); ok {
					messages = append(messages, m)
				}
			}
			if len(messages) == 0 {
				return nil
			}
			return rule(ctx, tx, now, messages)
		},
	})
}

// Types returns the types of the messages for which there are rules.
func (r *Rules) Types() []string {
	types := make([]string, len(r.applied))
	for i := range r.applied {
		types[i] = r.applied[i].messageType
	}
	return types
}

func (r *Rules) has(messageType string) bool {
	for i := range r.applied {
		if r.applied[i].messageType == messageType {
			return true
		}
	}
	return false
}

// apply applies a batch.
func (r *Rules) apply(ctx context.Context, tx *workerdb.Tx, now time.Time, batch []smp.Message) error {
	for i := range r.applied {
		if err := r.applied[i].apply(ctx, tx, now, batch); err != nil {
			return fmt.Errorf("applying messages of type %s: %w", r.applied[i].messageType, err)
		}
	}
	return nil
}
