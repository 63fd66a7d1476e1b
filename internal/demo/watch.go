package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/circular-trade/circular-trade/internal/world"
)

// poll calls look now and then until it returns true. Errors of databases that are just being restarted pass.
func (s *show) poll(ctx context.Context, what string, patience time.Duration, look func(context.Context) (bool, error)) error {
	const often = 250 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, err := look(ctx)
		if done {
			return nil
		}
		if broken := s.broken(); broken != nil {
			return broken
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s has not come to its end: %w; in the end: %s", what, ctx.Err(), s.screen.latest), err)
		case <-time.After(often):
		}
	}
}

// broken returns an error if something has happened that makes it useless to go on.
func (s *show) broken() error {
	select {
	case <-s.world.Ended():
		return errors.New("the simulated world has ended: see its log")
	default:
		return errors.Join(s.fleet.lost(), s.trouble.err())
	}
}

// wanted tells what the service has to know before a turn makes sense.
func wanted(s *world.Scenario) (policies, currencies int) {
	for i := range s.Customers {
		policies += len(s.Customers[i].Accounts)
	}
	for i := range s.Currencies {
		if !s.Currencies[i].Dummy {
			currencies++
		}
	}
	return policies, currencies
}

// awaitMarket waits until the service knows customers and currencies, and has accounts to move the tokens through.
func (s *show) awaitMarket(ctx context.Context) error {
	s.screen.title("Workers get to know customers and currencies")
	policies, currencies := wanted(&s.Scenario)
	return s.poll(ctx, "getting to know the market", setUpPatience, func(ctx context.Context) (bool, error) {
		p, err := s.stores.progress(ctx)
		if err != nil {
			return false, err
		}
		p.wantedPolicies, p.wantedCurrencies = policies, currencies
		s.screen.status("%d of %d wishes heard, %d of %d currencies confirmed, %d of %d collector accounts open",
			p.policies, policies, min(p.claims, p.documents), currencies, p.activeCollectors, p.collectors)
		return p.done(), nil
	})
}

// awaitTurn waits until a turn has been cleared, and all workers have got their share of the results.
func (s *show) awaitTurn(ctx context.Context, n int) error {
	s.screen.title("Turn %d", n)
	phase := 0
	return s.poll(ctx, fmt.Sprintf("turn %d", n), turnPatience, func(ctx context.Context) (bool, error) {
		t, err := s.stores.turn(ctx, n)
		if err != nil {
			return false, err
		}
		if t.phase != phase {
			phase = t.phase
			s.trouble.enter(stage{turn: n, part: partOf(phase)})
			s.screen.title("  %s", phaseText(phase))
		}
		switch phase {
		case 2:
			s.screen.status("%s accounts asked to lock, %s locked, %s offers at the solver",
				number(t.locks), number(t.prepared), number(t.sells+t.buys))
		case 3, 4:
			s.screen.status("%s worth of tokens of the base currency cleared", humanize.Commaf(float64(int64(t.value))))
		}
		return phase == 4, nil
	})
}

func partOf(phase int) turnPart {
	switch phase {
	case 1:
		return reporting
	case 2:
		return offering
	default:
		return moving
	}
}

func phaseText(phase int) string {
	switch phase {
	case 1:
		return "Phase 1: workers report currencies"
	case 2:
		return "Phase 2: workers lock what is for sale, and make offers"
	case 3:
		return "Phase 3: the market is cleared, workers pick up the results"
	default:
		return "Phase 4: the solver is done"
	}
}

// awaitEnd waits until the tokens of all turns have arrived.
func (s *show) awaitEnd(ctx context.Context) error {
	s.screen.title("The tokens move")
	return s.poll(ctx, "moving the tokens", turnPatience, func(ctx context.Context) (bool, error) {
		t, err := s.stores.turn(ctx, s.Turns)
		if err != nil {
			return false, err
		}
		s.screen.status("%s to collect from sellers, %s to send among collectors, %s to dispatch to buyers, %s accounts locked",
			number(t.toCollect), number(t.toSend+t.toReceive), number(t.toDispatch), number(t.unreleased))
		return t.done(), nil
	})
}

func number(n int) string { return humanize.Comma(int64(n)) }
