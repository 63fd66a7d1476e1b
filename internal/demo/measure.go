package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// A Stage is a part of a run of [Measure].
type Stage int

// The stages, in the order in which they come.
const (
	Learning Stage = iota // until workers know all customers and currencies, and all collectors are open
	Locking               // from the beginning of phase 2 until all candidate offers are locked
	Clearing              // from the end of phase 2 until the results are published
	Moving                // from then on until the last token has arrived
	Stages                // is their number
)

// Waiting is between two stages: for a time that has been agreed upon, or for the world to come to rest.
const Waiting Stage = -1

// String returns what happens in the stage, in a word.
func (s Stage) String() string {
	names := [Stages]string{"learning", "locking", "clearing", "moving"}
	if s < 0 || s >= Stages {
		return "waiting"
	}
	return names[s]
}

// Figures are what [Measure] has measured.
type Figures struct {
	Offers   int // that the solver has got
	Trades   int // sellers who have been charged, and buyers who have been paid
	Seconds  [Stages]float64
	Messages [Stages]int64 // that workers have sent to the broker, or got from it
}

// unhurried is the pace of a turn that is measured. Phase 2 ends when all is locked, so it is as long as need be. There is
// no other turn for hours, and transfers are not tried again because they had to queue for too long.
var unhurried = pace{phase1: 3 * time.Second, phase2: time.Hour, commitDelay: time.Hour}

// Measure plays one turn, as [Run] does, but shows only how it is getting on. Nothing is written down that is not needed
// for trading, and phase 2 ends when all is locked. It returns an error that wraps [ErrFailed] if anything has been wrong.
//
// When a stage begins, or ends, it calls watch with the process IDs of the service.
func Measure(ctx context.Context, settings Settings, watch func(stage Stage, processes map[string]int)) (f Figures, err error) {
	if err := os.MkdirAll(settings.Dir, 0o755); err != nil {
		return f, err
	}
	m := &measuring{
		show: &show{
			Settings: settings, screen: newScreen(settings.Out, settings.IsTerminal), bare: true,
			pace: unhurried,
		},
		watch: watch,
	}
	m.Turns, m.Keep = 1, true
	defer m.screen.close()
	defer func() { err = errors.Join(err, m.tearDown()) }()
	if err := m.build(ctx); err != nil {
		return f, err
	}
	for _, part := range []func(context.Context) error{m.learn, m.lock, m.clear, m.move, m.settle} {
		if err := part(ctx); err != nil {
			return f, err
		}
	}
	return m.figures, nil
}

// A measuring is one run of Measure.
type measuring struct {
	*show
	watch   func(stage Stage, processes map[string]int)
	figures Figures

	messages int64     // when the stage began
	locked   int       // number of accounts, in phase 2
	cleared  time.Time // when the results were published
}

// begin begins a stage.
func (m *measuring) begin(ctx context.Context, stage Stage) (err error) {
	m.watch(stage, m.fleet.processes())
	m.messages, err = m.messagesSoFar(ctx)
	return err
}

// messagesSoFar counts the messages that workers have sent to the broker, or got from it.
func (m *measuring) messagesSoFar(ctx context.Context) (int64, error) {
	return m.fleet.total(ctx, "trade_broker_messages_published_total", "trade_broker_messages_consumed_total")
}

// end ends a stage.
func (m *measuring) end(ctx context.Context, stage Stage, took time.Duration) error {
	m.watch(Waiting, m.fleet.processes())
	messages, err := m.messagesSoFar(ctx)
	m.figures.Seconds[stage], m.figures.Messages[stage] = took.Seconds(), messages-m.messages
	return err
}

func (m *measuring) learn(ctx context.Context) error {
	err := m.poll(ctx, "starting the workers", setUpPatience, func(ctx context.Context) (bool, error) {
		_, err := m.messagesSoFar(ctx)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	started := time.Now()
	if err := m.begin(ctx, Learning); err != nil {
		return err
	}
	if err := m.admin.planCollectors(ctx, &m.Scenario); err != nil {
		return err
	}
	if err := m.awaitMarket(ctx); err != nil {
		return err
	}
	return m.end(ctx, Learning, time.Since(started))
}

func (m *measuring) lock(ctx context.Context) error {
	if err := m.fleet.start(solverProcess); err != nil {
		return err
	}
	if err := m.awaitPhase(ctx, 2, "Phase 2: workers lock what is for sale"); err != nil {
		return err
	}
	if err := m.begin(ctx, Locking); err != nil {
		return err
	}
	allOffered := false // when it was looked the last time: the number of offers is known a moment later
	err := m.poll(ctx, "locking", turnPatience, func(ctx context.Context) (bool, error) {
		l, err := m.stores.locking(ctx)
		if err != nil {
			return false, err
		}
		offered, err := m.fleet.total(ctx, `trade_worker_turn_rows_total{table="CandidateOffer"}`)
		m.screen.status("%s of %s candidate offers locked", number(l.prepared), number(int(offered)))
		done := allOffered && l.prepared == int(offered)
		allOffered, m.locked = l.allOffered, l.prepared
		return done, err
	})
	if err != nil {
		return err
	}
	ended := time.Now()
	started, err := m.stores.phase2Deadline(ctx)
	if err != nil {
		return err
	}
	return m.end(ctx, Locking, ended.Sub(started.Add(-m.pace.phase2)))
}

// clear has phase 2 end, and waits for the results.
func (m *measuring) clear(ctx context.Context) error {
	deadline, err := m.stores.hasten(ctx, &m.Scenario)
	if err != nil {
		return err
	}
	m.screen.status("Workers write their offers")
	select {
	case <-time.After(time.Until(deadline)):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := m.begin(ctx, Clearing); err != nil {
		return err
	}
	if err := m.awaitPhase(ctx, 3, "Phase 3: the market has been cleared"); err != nil {
		return err
	}
	if m.cleared, m.figures.Offers, err = m.stores.published(ctx); err != nil {
		return err
	}
	if m.figures.Offers != m.locked || m.locked == 0 {
		return fmt.Errorf("%w: of %d offers, the solver has got %d in time", ErrFailed, m.locked, m.figures.Offers)
	}
	return m.end(ctx, Clearing, m.cleared.Sub(deadline))
}

func (m *measuring) move(ctx context.Context) error {
	if err := m.begin(ctx, Moving); err != nil {
		return err
	}
	if err := m.awaitEnd(ctx); err != nil {
		return err
	}
	arrived, err := m.stores.lastArrival(ctx)
	if err != nil {
		return err
	}
	return m.end(ctx, Moving, arrived.Sub(m.cleared))
}

// settle asks the world whether all has been right.
func (m *measuring) settle(ctx context.Context) error {
	m.screen.status("Waiting until the world has come to rest")
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	if err := m.world.Settle(ctx, 2*time.Second); err != nil {
		return err
	}
	report := m.world.Report()
	for _, t := range report.Turnovers {
		m.figures.Trades += t.Sellers + t.Buyers
	}
	if failures := report.Failures(); len(failures) > 0 {
		return fmt.Errorf("%w: %s: %v", ErrFailed, failures[0].Statement, failures[0].Examples)
	}
	return nil
}

// awaitPhase waits until the turn is in a phase, or has been.
func (m *measuring) awaitPhase(ctx context.Context, phase int, title string) error {
	err := m.poll(ctx, "the turn", turnPatience, func(ctx context.Context) (bool, error) {
		reached := false
		err := m.stores.solver.Pool().QueryRow(ctx, `SELECT count(*) > 0 FROM turn WHERE phase >= $1`, phase).Scan(&reached)
		return reached, err
	})
	m.screen.title("%s", title)
	return err
}
