package turn

import (
	"context"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// Audit checks an outcome before it is published.
var Audit = audit

// Clear is what clears a market.
type Clear = func(ctx context.Context, market *solver.Market, options solver.Options) (*solver.Outcome, error)

// ReplaceSolver has another function clear markets.
func (r *Roller) ReplaceSolver(clearMarket func(original Clear) Clear) {
	r.clear = clearMarket(r.clear)
}
