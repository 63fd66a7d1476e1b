package settlement

import "context"

// Steps is the number of steps.
var Steps = len(steps)

// TakeStep takes one of the steps with a status that has been found ready before.
func (r *Roller) TakeStep(ctx context.Context, n int, of Record) error {
	return r.take(ctx, &steps[n], []status{{of.CollectorID, of.TurnID, of.DebtorID}})
}
