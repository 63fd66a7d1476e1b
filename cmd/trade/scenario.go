package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/circular-trade/circular-trade/internal/book"
	"github.com/circular-trade/circular-trade/internal/world"
)

// scenarioOptions are the flags that say which world is to be simulated.
type scenarioOptions struct {
	book, profile         string
	customers, currencies int
	seed                  uint64
}

func (o *scenarioOptions) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&o.book, "book", "", "`DIR` with an offer book as for 'trade solve', whose offers customers shall have")
	flags.IntVar(&o.customers, "customers", 0, "make up `N` customers, instead of the small town")
	flags.IntVar(&o.currencies, "currencies", 100, "with --customers: how many currencies, `N`")
	flags.Uint64Var(&o.seed, "seed", 1, "seed `S` of all that is left to chance")
	flags.StringVar(&o.profile, "profile", "calm", "`NAME` of how the world behaves: calm, noisy, or storm")
}

// load returns the scenario, and how the world behaves.
func (o *scenarioOptions) load(ctx context.Context) (world.Scenario, world.Profile, error) {
	profiles := map[string]world.Profile{"calm": world.Calm(), "noisy": world.Noisy(), "storm": world.Storm(o.seed)}
	profile, found := profiles[o.profile]
	switch {
	case o.book != "" && o.customers != 0:
		return world.Scenario{}, world.Profile{}, usageErrorf("--book and --customers exclude each other")
	case !found:
		return world.Scenario{}, world.Profile{}, usageErrorf("--profile: %q is not calm, noisy, or storm", o.profile)
	}
	scenario, err := o.scenario(ctx)
	return scenario, profile, err
}

func (o *scenarioOptions) scenario(ctx context.Context) (world.Scenario, error) {
	switch {
	case o.book != "":
		b, err := book.Open(o.book)
		if err != nil {
			return world.Scenario{}, err
		}
		return world.FromBook(ctx, b, book.LoadOptions{MaxDistanceToBase: 10, MinTradeAmount: 1000})
	case o.customers != 0:
		synthetic := book.Synthetic{Currencies: o.currencies, Traders: o.customers, Seed: int64(o.seed)} //nolint:gosec // any seed will do
		if err := synthetic.Validate(); err != nil {
			return world.Scenario{}, usageErrorf("%v", err)
		}
		return world.FromSynthetic(synthetic)
	default:
		return world.Town(), nil
	}
}
