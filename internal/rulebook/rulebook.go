// Package rulebook has the rules for all messages that a worker handles, and connects those that need each other.
//
// The packages that the rules come from do not know each other: each is about one subject. Two things are left to this
// package. First, the answers of accounting authorities are about a lock or about a transfer attempt, and tokens that
// move settle locks, or what collectors have to do; here, each message finds its subject. Second, a rule of one subject
// can have something to tell to another subject of the same shard; this happens at once, in the same transaction.
package rulebook

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/attempt"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/policy"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Settings are what the rules of a worker need to know.
type Settings struct {
	config.Collectors
	config.Owner
	config.CommitPeriod
	config.Accounts
	config.InterestRates
	config.AccountLocks
	config.Pouring
	config.Transfers
	config.Slacks
	config.DebtorInfo
	config.Silence
	config.InternalMessages

	// IntN chooses one of several collectors: it returns a number from 0 to n−1. Several goroutines may call it at a time.
	// Nil: chance decides, as all collectors should be given about the same work.
	IntN func(n int) int
}

// Metrics are those of the rules. Components that work on the same subjects share them.
type Metrics struct {
	Collectors *collector.Metrics
	Locks      *lock.Metrics
	Attempts   *attempt.Metrics
}

// NewMetrics returns metrics that are registered.
func NewMetrics(reg prometheus.Registerer) Metrics {
	return Metrics{
		Collectors: collector.NewMetrics(reg),
		Locks:      lock.NewMetrics(reg),
		Attempts:   attempt.NewMetrics(reg),
	}
}

// New returns the rules for all messages, in the order in which they are applied to a batch. The realm is the worker's
// shard.
func New(realm shard.Realm, settings Settings, metrics Metrics, logger *slog.Logger) *inbox.Rules {
	b := newBook(realm, settings, metrics, logger)
	rules := &inbox.Rules{}
	inbox.Add(rules, policy.HandleUpdatedLedgers)
	inbox.Add(rules, policy.HandleUpdatedPolicies)
	inbox.Add(rules, policy.HandleUpdatedFlags)

	b.collectors.AddTo(rules)
	b.currencies.AddTo(rules)

	inbox.Add(rules, b.locks.HandleCandidateOffers)
	inbox.Add(rules, b.handleRejectedTransfers)
	inbox.Add(rules, b.handlePreparedTransfers)
	inbox.Add(rules, b.locks.HandleReviseAccountLocks)
	inbox.Add(rules, b.handleFinalizedTransfers)
	inbox.Add(rules, b.locks.HandleLockAbandonments)
	inbox.Add(rules, b.handleAccountTransfers)

	inbox.Add(rules, settlement.HandleCollectingFailures)
	inbox.Add(rules, settlement.HandleNothingToReceives)
	inbox.Add(rules, b.starter.HandleStartSendings)
	inbox.Add(rules, b.starter.HandleStartDispatchings)

	inbox.Add(rules, b.attempts.HandleAccountIDRequests)
	inbox.Add(rules, b.attempts.HandleAccountIDResponses)
	inbox.Add(rules, b.attempts.HandleTriggerTransfers)
	return rules
}

// A book is the rules that have settings.
type book struct {
	logger     *slog.Logger
	collectors *collector.Rules
	currencies *currency.Rules
	locks      *lock.Rules
	starter    *settlement.Starter
	attempts   *attempt.Rules
}

func newBook(realm shard.Realm, s Settings, metrics Metrics, logger *slog.Logger) *book {
	intN := s.IntN
	if intN == nil {
		intN = rand.IntN
	}
	locks := &lock.Rules{
		Settings: lock.Settings{
			Realm:            realm,
			ExtendedMessages: s.Extended,
			MinCollectorID:   s.MinID,
			MaxCollectorID:   s.MaxID,
			MinDemurrageRate: s.MinDemurrageRate,
			Lead:             s.Lead,
			DispatchingSlack: s.Dispatching,
			MaxAge:           s.MaxAge,
		},
		CollectingFailed: settlement.HandleCollectingFailures,
		IntN:             intN,
		Logger:           logger,
		Metrics:          metrics.Locks,
	}
	return &book{
		logger: logger,
		collectors: &collector.Rules{
			Settings: collector.Settings{
				Pool:              collector.Pool{First: s.MinID, Last: s.MaxID},
				MinDemurrageRate:  s.MinDemurrageRate,
				MinCommitPeriod:   s.CommitPeriod.Max,
				MinNoteBytes:      s.MinTransferNoteMaxBytes,
				RateHistoryPeriod: s.Remembered(s.CommitPeriod, s.Slacks),
			},
			Metrics: metrics.Collectors,
			Logger:  logger,
		},
		currencies: &currency.Rules{
			Realm:           realm,
			DocumentExpiry:  s.DocumentExpiry,
			ClaimExpiry:     s.ClaimExpiry,
			MaxMessageDelay: s.ExtremeMessageDelay,
			Logger:          logger,
		},
		locks: locks,
		starter: &settlement.Starter{
			Realm:              realm,
			HealthyCommitDelay: s.HealthyCommitDelay,
			ExtendedMessages:   s.Extended,
			LockAbandoned:      locks.HandleLockAbandonments,
			Logger:             logger,
		},
		attempts: attempt.NewRules(attempt.Settings{
			Realm:              realm,
			HealthyCommitDelay: s.HealthyCommitDelay,
			AmountCut:          s.AmountCut,
			ExtendedMessages:   s.Extended,
			NothingToReceive:   settlement.HandleNothingToReceives,
			LockAbandoned:      locks.HandleLockAbandonments,
			Metrics:            metrics.Attempts,
			Logger:             logger,
		}),
	}
}

// handleRejectedTransfers looks for the lock that an answer is about, and if there is none, for the attempt.
func (b *book) handleRejectedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.RejectedTransfer,
) error {
	return oneOrTheOther(ctx, tx, now, batch, b.locks.HandleRejectedTransfers, b.attempts.HandleRejectedTransfers)
}

// handlePreparedTransfers does the same with answers of another kind. Those that are about nothing are dismissed.
func (b *book) handlePreparedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.PreparedTransfer,
) error {
	return oneOrTheOther(ctx, tx, now, batch, b.locks.HandlePreparedTransfers, b.attempts.HandlePreparedTransfers)
}

// handleFinalizedTransfers does the same with answers of a third kind.
func (b *book) handleFinalizedTransfers(
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []*smp.FinalizedTransfer,
) error {
	return oneOrTheOther(ctx, tx, now, batch, b.locks.HandleFinalizedTransfers, b.attempts.HandleFinalizedTransfers)
}

// oneOrTheOther hands over to other what one has left.
func oneOrTheOther[M smp.Message](
	ctx context.Context, tx *workerdb.Tx, now time.Time, batch []M,
	one func(context.Context, *workerdb.Tx, time.Time, []M) (rest []M, err error),
	other inbox.Rule[M],
) error {
	rest, err := one(ctx, tx, now, batch)
	if err != nil || len(rest) == 0 {
		return err
	}
	return other(ctx, tx, now, rest)
}
