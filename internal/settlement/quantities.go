package settlement

import (
	"math/big"
)

// Amounts are what a collector has to do with one currency in a turn, and what has come of it. They are tokens; none of
// them is negative. See section 3.2 of the chapter about transfers.
type Amounts struct {
	ToCollect, ToSend, ToReceive, ToDispatch int64

	Collected int64 // zero until sending begins
	Received  int64 // zero until dispatching begins
}

// MissingCollected returns how much of what should have been collected has not come: from 0 to ToCollect.
func (a Amounts) MissingCollected() int64 {
	return a.ToCollect - min(a.Collected, a.ToCollect)
}

// AvailableToSend returns how much is sent to other collectors, who have to bear a shortage first: from 0 to ToSend.
func (a Amounts) AvailableToSend() int64 {
	return a.ToSend - a.Hoarded()
}

// Hoarded returns how much of what should be sent to other collectors stays here instead: from 0 to ToSend.
func (a Amounts) Hoarded() int64 {
	return min(a.ToSend, a.MissingCollected())
}

// MissingReceived returns how much of what other collectors should have sent has not come: from 0 to ToReceive. That
// more has come than expected counts as nothing missing, so it is never dispatched.
func (a Amounts) MissingReceived() int64 {
	return a.ToReceive - min(a.Received, a.ToReceive)
}

// AvailableToDispatch returns how much buyers get, who have to bear what is missing in spite of hoarding: from 0 to
// ToDispatch.
func (a Amounts) AvailableToDispatch() int64 {
	rest := a.ToDispatch - min(a.ToDispatch, a.MissingCollected()-a.Hoarded())
	return rest - min(rest, a.MissingReceived())
}

// Share returns which part of a total is available: available/total, correctly rounded. The total has to be greater
// than zero.
func Share(available, total int64) float64 {
	share, _ := big.NewRat(available, total).Float64()
	return share
}

// Nominal returns the part of an amount that is to be transferred if a share of everything is available. Interest and
// the cut have yet to be taken off.
func Nominal(amount int64, share float64) float64 {
	return float64(amount) * share
}

// minNominal is the smallest nominal amount that is worth an attempt to transfer it.
const minNominal = 1.0
