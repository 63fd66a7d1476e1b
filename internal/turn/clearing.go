package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A clearing is what there is to be published about the market of a turn.
type clearing struct {
	takings   []solver.Change // ordered by creditor and debtor
	givings   []solver.Change // ordered by creditor and debtor
	transfers []solver.Transfer
	summary   solverdb.InsertTurnSummaryParams
	failure   error // why there are no results; nil: there may be some
}

// withoutResults returns a clearing without results, for the reason given.
func (c *clearing) withoutResults(failure error) *clearing {
	text := strings.ToValidUTF8(strings.ReplaceAll(failure.Error(), "\x00", ""), "?") // or else it would be refused
	summary := c.summary
	summary.Failure = &text
	summary.TradedCurrencies, summary.ServedTraders, summary.ClearedValue = 0, 0, 0
	summary.Takings, summary.Givings, summary.Transfers = 0, 0, 0
	return &clearing{summary: summary, failure: failure}
}

var (
	errKilled   = errors.New("the process has been killed whenever it tried to clear the market")
	errPanicked = errors.New("the solver has panicked")
)

// An unclearableError is the reason for which a market cannot be cleared, now or later. All other errors may pass.
type unclearableError struct{ error }

func (e unclearableError) Unwrap() error { return e.error }

const (
	// maxAttempts is how often it is tried to clear a market that kills the process.
	maxAttempts = 3

	// attemptTimeout is how long it may take to note that an attempt has ended, also when the process is being stopped.
	attemptTimeout = 2 * time.Second
)

// attempt clears the market of a turn. If that cannot be done, it returns a clearing without results. It fails only if
// trying again can help. That there is an attempt is noted in the database until it has come to an end: should the
// process be killed meanwhile, the next one knows.
func (r *Roller) attempt(ctx context.Context, t solverdb.Turn) (*clearing, error) {
	c := &clearing{summary: solverdb.InsertTurnSummaryParams{TurnID: t.TurnID}}
	killed, err := r.DB.Queries().CountClearingAttempts(ctx, t.TurnID)
	if err != nil {
		return nil, fmt.Errorf("looking for earlier attempts to clear the market: %w", err)
	}
	if killed >= maxAttempts {
		return c.withoutResults(fmt.Errorf("%w, %d times", errKilled, killed)), nil
	}
	attempt := solverdb.BeginClearingAttemptParams{TurnID: t.TurnID, AttemptID: rand.Int64(), BegunAt: r.Now()}
	defer r.endAttempt(ctx, attempt) // also if nobody knows whether it has begun
	if err := r.DB.Queries().BeginClearingAttempt(ctx, attempt); err != nil {
		return nil, fmt.Errorf("noting an attempt to clear the market: %w", err)
	}
	err = r.fill(ctx, c, t)
	if reason, ok := errors.AsType[unclearableError](err); ok && ctx.Err() == nil {
		return c.withoutResults(reason.error), nil
	}
	return c, err
}

func (r *Roller) endAttempt(ctx context.Context, attempt solverdb.BeginClearingAttemptParams) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	err := r.DB.Queries().EndClearingAttempt(ending, solverdb.EndClearingAttemptParams{
		TurnID: attempt.TurnID, AttemptID: attempt.AttemptID,
	})
	if err != nil {
		r.Logger.WarnContext(ctx, "cannot note that an attempt to clear a market has ended; "+
			"it counts as one in which the process was killed",
			slog.Int("turn_id", int(attempt.TurnID)), slog.Any("error", err))
	}
}

// fill reads the market, clears it, and checks the outcome.
func (r *Roller) fill(ctx context.Context, c *clearing, t solverdb.Turn) error {
	begun := time.Now()
	prices, err := r.price(ctx, c, t)
	if err != nil {
		return err
	}
	market, err := r.load(ctx, c, t, prices)
	if err != nil {
		return err
	}
	c.summary.ReadSeconds = time.Since(begun).Seconds()
	r.Metrics.took(stepRead, time.Since(begun))

	begun = time.Now()
	outcome, err := r.solve(ctx, market, t.TurnID)
	if err != nil {
		return unclearableError{fmt.Errorf("clearing the market: %w", err)}
	}
	c.summary.ClearSeconds = time.Since(begun).Seconds()
	r.Metrics.took(stepClear, time.Since(begun))
	c.sumUp(outcome)
	if err := audit(outcome, prices); err != nil {
		return unclearableError{err}
	}
	c.takings, c.givings, c.transfers = outcome.Takings, outcome.Givings, outcome.Transfers
	return nil
}

// price reads the currencies of a turn, and computes their prices.
func (r *Roller) price(ctx context.Context, c *clearing, t solverdb.Turn) (*solver.Prices, error) {
	tree, err := solver.NewPegTree(solver.Params{
		BaseLocator:       t.BaseDebtorInfoLocator,
		BaseDebtorID:      t.BaseDebtorID,
		MaxDistanceToBase: int(t.MaxDistanceToBase),
		MinTradeAmount:    t.MinTradeAmount,
	})
	if err != nil {
		return nil, unclearableError{err}
	}
	for row, err := range r.DB.CurrenciesOf(ctx, t.TurnID) {
		if err != nil {
			return nil, err
		}
		c.summary.Currencies++
		if err := tree.Register(row.Currency()); err != nil {
			return nil, unclearableError{fmt.Errorf("registering the currencies: %w", err)}
		}
	}
	prices, err := tree.Prices()
	if err != nil {
		return nil, unclearableError{fmt.Errorf("pricing the currencies: %w", err)}
	}
	for priced := range prices.Currencies() {
		count(&c.summary.ConfirmedCurrencies, priced.Confirmed)
		count(&c.summary.PricedCurrencies, priced.Distance >= 0)
		count(&c.summary.TradableCurrencies, priced.Clearable)
	}
	return prices, nil
}

func count(n *int64, condition bool) {
	if condition {
		*n++
	}
}

// load reads the collectors and the offers of a turn. Offers that make no sense are left out, with a warning.
func (r *Roller) load(
	ctx context.Context, c *clearing, t solverdb.Turn, prices *solver.Prices,
) (*solver.Market, error) {
	market := solver.NewMarket(prices)
	for row, err := range r.DB.ActiveCollectors(ctx) {
		if err != nil {
			return nil, err
		}
		c.summary.Collectors++
		if err := market.AddCollector(row.DebtorID, row.CollectorID); err != nil {
			return nil, unclearableError{fmt.Errorf("registering the collectors: %w", err)}
		}
	}
	sells, buys := rejects{}, rejects{}
	for row, err := range r.DB.SellOffersOf(ctx, t.TurnID) {
		if err != nil {
			return nil, err
		}
		c.summary.SellOffers++
		offer := solver.SellOffer{
			Creditor: row.CreditorID, Debtor: row.DebtorID, Amount: row.Amount, Collector: row.CollectorID,
		}
		verdict, err := market.AddSell(offer)
		if err != nil {
			return nil, unclearableError{fmt.Errorf("adding the sell offers: %w", err)}
		}
		sells.add(verdict, row.CreditorID, row.DebtorID)
	}
	for row, err := range r.DB.BuyOffersOf(ctx, t.TurnID) {
		if err != nil {
			return nil, err
		}
		c.summary.BuyOffers++
		offer := solver.BuyOffer{Creditor: row.CreditorID, Debtor: row.DebtorID, Amount: row.Amount}
		verdict, err := market.AddBuy(offer)
		if err != nil {
			return nil, unclearableError{fmt.Errorf("adding the buy offers: %w", err)}
		}
		buys.add(verdict, row.CreditorID, row.DebtorID)
	}
	c.summary.BadOffers = sells.warn(ctx, r.Logger, t.TurnID, "sell") + buys.warn(ctx, r.Logger, t.TurnID, "buy")
	return market, nil
}

// Rejects are offers that make no sense, by what is wrong with them.
type rejects map[solver.Verdict]*reject

type reject struct {
	offers   int64
	creditor swpt.CreditorID // of the first one
	debtor   swpt.DebtorID
}

// reasons are the verdicts that are worth a warning.
var reasons = map[solver.Verdict]string{
	solver.InvalidAmount: "the amount is not positive",
	solver.NoCreditor:    "the creditor ID is 0",
	solver.NoCollector:   "the collector ID is 0",
}

func (r rejects) add(verdict solver.Verdict, creditor swpt.CreditorID, debtor swpt.DebtorID) {
	if reasons[verdict] == "" {
		return
	}
	if r[verdict] == nil {
		r[verdict] = &reject{creditor: creditor, debtor: debtor}
	}
	r[verdict].offers++
}

// warn logs a warning for each reason, however many offers it concerns. It returns the number of all these offers.
func (r rejects) warn(ctx context.Context, logger *slog.Logger, turnID int32, kind string) (offers int64) {
	for verdict, rejected := range r {
		offers += rejected.offers
		logger.WarnContext(ctx, "left out offers that make no sense", slog.Int("turn_id", int(turnID)),
			slog.String("kind", kind), slog.String("reason", reasons[verdict]), slog.Int64("offers", rejected.offers),
			slog.Int64("first_creditor_id", int64(rejected.creditor)), slog.Int64("first_debtor_id", int64(rejected.debtor)))
	}
	return offers
}

// solve clears a market. A panic of the solver, at least one in this goroutine, does not end the process: the next one
// would not fare better.
func (r *Roller) solve(ctx context.Context, market *solver.Market, turnID int32) (outcome *solver.Outcome, err error) {
	defer func() {
		if value := recover(); value != nil {
			r.Logger.ErrorContext(ctx, "the solver has panicked", slog.Int("turn_id", int(turnID)),
				slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%w: %v", errPanicked, value)
		}
	}()
	return r.clear(ctx, market, solver.Options{Strategy: solver.Optimal(), Seed: int64(turnID)})
}

// sumUp notes the outcome in the summary.
func (c *clearing) sumUp(outcome *solver.Outcome) {
	s := &c.summary
	s.Traders, s.ServedTraders = int64(outcome.Traders), int64(outcome.Served)
	s.Takings, s.Givings = int64(len(outcome.Takings)), int64(len(outcome.Givings))
	s.Transfers = int64(len(outcome.Transfers))
	for _, currency := range outcome.Currencies {
		s.OfferedValue += currency.Offered
		s.WantedValue += currency.Wanted
		s.ClearedValue += currency.Cleared
		count(&s.TradedCurrencies, currency.Takings > 0)
	}
}

// log tells what has come of the turn, in one line.
func (c *clearing) log(ctx context.Context, logger *slog.Logger) {
	s := c.summary
	attributes := []slog.Attr{
		slog.Int("turn_id", int(s.TurnID)),
		slog.Int64("currencies", s.Currencies),
		slog.Int64("confirmed_currencies", s.ConfirmedCurrencies),
		slog.Int64("priced_currencies", s.PricedCurrencies),
		slog.Int64("tradable_currencies", s.TradableCurrencies),
		slog.Int64("traded_currencies", s.TradedCurrencies),
		slog.Int64("collectors", s.Collectors),
		slog.Int64("sell_offers", s.SellOffers),
		slog.Int64("buy_offers", s.BuyOffers),
		slog.Int64("bad_offers", s.BadOffers),
		slog.Int64("traders", s.Traders),
		slog.Int64("served_traders", s.ServedTraders),
		slog.Float64("offered_value", s.OfferedValue),
		slog.Float64("wanted_value", s.WantedValue),
		slog.Float64("cleared_value", s.ClearedValue),
		slog.Int64("takings", s.Takings),
		slog.Int64("givings", s.Givings),
		slog.Int64("transfers", s.Transfers),
		slog.Float64("read_seconds", s.ReadSeconds),
		slog.Float64("clear_seconds", s.ClearSeconds),
		slog.Float64("write_seconds", s.WriteSeconds),
	}
	if c.failure != nil {
		attributes = append(attributes, slog.Any("error", c.failure))
		logger.LogAttrs(ctx, slog.LevelError, "a turn goes on without results", attributes...)
		return
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "published the results of a turn", attributes...)
}
