package solver

import (
	"context"
	"fmt"
)

// A Strategy decides how much flows through each arc of an offer graph. It leaves the graph with a flow that is
// conserved at every trader and every currency and is, on each arc, 0 or from the arc's least flow to its capacity.
type Strategy interface {
	// Name is what the strategy is called on command lines and in reports.
	Name() string

	clear(ctx context.Context, g *graph, p *progress) error
}

// StrategyByName returns the strategy of the given name, "optimal" or "greedy".
func StrategyByName(name string) (Strategy, error) {
	for _, s := range []Strategy{Optimal(), Greedy()} {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("unknown strategy %q: must be %q or %q", name, Optimal().Name(), Greedy().Name())
}

// progress passes on how far a clearing has come.
type progress struct {
	notify func(step string, share float64)
}

func (p *progress) report(step string, share float64) {
	if p != nil && p.notify != nil {
		p.notify(step, share)
	}
}
