package turn

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// errUnsound tells that an outcome must not be published.
var errUnsound = errors.New("internal error: the outcome is not sound")

func unsound(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnsound, fmt.Sprintf(format, args...))
}

// audit checks that an outcome moves money, and neither makes nor destroys any:
//
//   - Each account is in one of the two lists, once, with at least the minimal amount of a currency that can be traded.
//   - Collectors pass on, to creditors and to each other, exactly what they take.
//   - Traders get the value that they give, up to a token of rounding for each of their accounts.
//
// That nobody gives or gets more than offered is for the database to check, which has the offers.
func audit(o *solver.Outcome, prices *solver.Prices) error {
	for _, check := range []func() error{
		func() error { return auditChanges("takings", o.Takings, prices) },
		func() error { return auditChanges("givings", o.Givings, prices) },
		func() error { return auditCollectors(o) },
		func() error { return auditTraders(o, prices) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func auditChanges(kind string, changes []solver.Change, prices *solver.Prices) error {
	minimum := prices.Params().MinTradeAmount
	for i, c := range changes {
		if i > 0 && compareAccounts(changes[i-1], c) >= 0 {
			return unsound("the %s of creditor %d are not in order, or there twice", kind, c.Creditor)
		}
		if c.Creditor == 0 || c.Collector == 0 || c.Amount < minimum || !prices.Clearable(c.Debtor) {
			return unsound("among the %s is %+v", kind, c)
		}
	}
	return nil
}

func compareAccounts(a, b solver.Change) int {
	return cmp.Or(cmp.Compare(a.Creditor, b.Creditor), cmp.Compare(a.Debtor, b.Debtor))
}

// A position is a sum of any number of amounts, with signs.
type position struct {
	high int64
	low  uint64
}

func (p position) plus(amount int64) position {
	low, carry := bits.Add64(p.low, uint64(amount), 0)       //nolint:gosec // two's complement
	return position{p.high + amount>>63 + int64(carry), low} //nolint:gosec // 0 or 1
}

// auditCollectors checks that nothing sticks to collectors.
func auditCollectors(o *solver.Outcome) error {
	type account struct {
		debtor    swpt.DebtorID
		collector swpt.CreditorID
	}
	positions := map[account]position{}
	move := func(debtor swpt.DebtorID, collector swpt.CreditorID, amount int64) {
		key := account{debtor, collector}
		positions[key] = positions[key].plus(amount)
	}
	for _, c := range o.Takings {
		move(c.Debtor, c.Collector, c.Amount)
	}
	for _, c := range o.Givings {
		move(c.Debtor, c.Collector, -c.Amount)
	}
	type pair struct {
		debtor   swpt.DebtorID
		from, to swpt.CreditorID
	}
	seen := map[pair]bool{}
	for _, t := range o.Transfers {
		key := pair{t.Debtor, t.From, t.To}
		if t.Amount < 1 || t.From == t.To || seen[key] {
			return unsound("among the transfers is %+v", t)
		}
		seen[key] = true
		move(t.Debtor, t.From, -t.Amount)
		move(t.Debtor, t.To, t.Amount)
	}
	for key, p := range positions {
		if p != (position{}) {
			return unsound("collector %d does not pass on what it takes of debtor %d", key.collector, key.debtor)
		}
	}
	return nil
}

// auditTraders checks that nobody gives something for nothing, or the other way round. Both lists are in order.
func auditTraders(o *solver.Outcome, prices *solver.Prices) error {
	takings, givings := o.Takings, o.Givings
	for len(takings) > 0 || len(givings) > 0 {
		if len(takings) == 0 || len(givings) == 0 || takings[0].Creditor != givings[0].Creditor {
			return unsound("somebody gives and gets nothing, or gets and gives nothing: %+v", firstOf(takings, givings))
		}
		creditor := takings[0].Creditor
		var given, gotten []solver.Change
		given, takings = split(takings, creditor)
		gotten, givings = split(givings, creditor)
		if err := auditTrader(given, gotten, prices); err != nil {
			return err
		}
	}
	return nil
}

// firstOf returns the first change of somebody who is in one list only. Not both lists are empty.
func firstOf(takings, givings []solver.Change) solver.Change {
	if len(givings) == 0 || len(takings) > 0 && takings[0].Creditor < givings[0].Creditor {
		return takings[0]
	}
	return givings[0]
}

// split cuts a list after the changes of a creditor that it begins with.
func split(list []solver.Change, creditor swpt.CreditorID) (own, others []solver.Change) {
	end := slices.IndexFunc(list, func(c solver.Change) bool { return c.Creditor != creditor })
	if end < 0 {
		end = len(list)
	}
	return list[:end], list[end:]
}

// auditTrader checks what a trader gives and gets. Both lists are in order.
func auditTrader(given, gotten []solver.Change, prices *solver.Prices) error {
	// A change is rounded to tokens. Huge ones are not exact to the token as floating-point numbers.
	const precision = 1e-9
	balance, tolerance := 0.0, 0.0
	weigh := func(c solver.Change, sign float64) {
		price := prices.Price(c.Debtor)
		balance += sign * float64(c.Amount) * price
		tolerance += price * (1 + precision*float64(c.Amount))
	}
	for _, c := range given {
		weigh(c, -1)
		if _, found := slices.BinarySearchFunc(gotten, c, compareAccounts); found {
			return unsound("creditor %d both gives and gets tokens of debtor %d", c.Creditor, c.Debtor)
		}
	}
	for _, c := range gotten {
		weigh(c, 1)
	}
	if !(math.Abs(balance) <= tolerance) { // also if it is not a number
		return unsound("creditor %d gets %v tokens of the base currency more than it gives", given[0].Creditor, balance)
	}
	return nil
}
