package collector

import (
	"context"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// topicTasks is the topic of the notifications about new tasks.
const topicTasks = "collector/tasks"

// A taskKey says what is to be done in the solver database: activate a collector, or, if there is none, make sure that
// the debtor has one.
type taskKey struct {
	debtor    swpt.DebtorID
	collector swpt.CreditorID // 0: the task is about the debtor
	accountID string          // of the collector
}

// shardKey says which worker has to do the task.
func (k taskKey) shardKey() shard.Key {
	if k.collector == 0 {
		return shard.KeyOf(k.debtor)
	}
	return shard.KeyOf(k.collector)
}

// tasks are what a batch of messages asks for, and when the latest message that did so was sent.
type tasks map[taskKey]time.Time

func (t tasks) add(key taskKey, ts time.Time) {
	if ts.After(t[key]) || t[key].IsZero() {
		t[key] = ts
	}
}

// record stores tasks, due at once, and wakes the followers. A task that is there already is due again, even if a
// follower is at it: the message may be about something that the follower did not see.
func (t tasks) record(ctx context.Context, tx *workerdb.Tx, now time.Time) error {
	if len(t) == 0 {
		return nil
	}
	p := workerdb.RecordCollectorTasksParams{DueAt: now}
	for key, ts := range t {
		p.DebtorIDs = append(p.DebtorIDs, int64(key.debtor))
		p.CollectorIDs = append(p.CollectorIDs, int64(key.collector))
		p.AccountIDs = append(p.AccountIDs, key.accountID)
		p.Timestamps = append(p.Timestamps, ts)
	}
	if err := tx.RecordCollectorTasks(ctx, p); err != nil {
		return fmt.Errorf("leaving %d tasks concerning collectors: %w", len(t), err)
	}
	tx.NotifyOnCommit(topicTasks)
	return nil
}
