package mirror

import (
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A bid is what a trading policy comes down to at the moment. It has the state of the account that it comes from.
type bid = solver.Bid[accountState]

// An accountState tells which changes of an account are known.
type accountState struct {
	creationDate       smp.Date
	lastTransferNumber int64
}

// A policy is a trading policy, as far as bids depend on it.
type policy struct {
	creditor swpt.CreditorID
	debtor   swpt.DebtorID

	hasName            bool // any name means that the customer wants to trade
	hasAccountID       bool
	accountIDIsOld     bool // the account does not have it any more
	configFlags        int32
	creationDate       time.Time
	lastTransferNumber int64

	principal    int64
	minPrincipal int64
	maxPrincipal int64
	pegDebtor    *swpt.DebtorID
	pegRate      *float64
}

const policiesQuery = `
	SELECT
		creditor_id, debtor_id, policy_name IS NOT NULL, account_id <> '', account_id_is_obsolete, config_flags,
		creation_date, last_transfer_number, principal, min_principal, max_principal, peg_debtor_id, peg_exchange_rate
	FROM trading_policy
	ORDER BY creditor_id, debtor_id`

func scanPolicy(row pgx.CollectableRow, p *policy) error {
	return row.Scan(
		&p.creditor, &p.debtor, &p.hasName, &p.hasAccountID, &p.accountIDIsOld, &p.configFlags,
		&p.creationDate, &p.lastTransferNumber, &p.principal, &p.minPrincipal, &p.maxPrincipal, &p.pegDebtor, &p.pegRate)
}

// bid returns the bid of a policy. There is one also if the amount is zero, as it may carry a rate that others need.
func (p *policy) bid() bid {
	b := bid{
		Creditor: p.creditor, Debtor: p.debtor, Amount: p.amount(),
		Account: accountState{smp.DateOf(p.creationDate), p.lastTransferNumber},
	}
	if p.pegDebtor != nil && p.pegRate != nil {
		b.PegDebtor, b.PegRate = *p.pegDebtor, *p.pegRate
	}
	return b
}

// scheduledForDeletion is the flag of accounts that are about to go.
const scheduledForDeletion int32 = 1

// amount returns how many tokens are to be bought (positive), or sold (negative), to get the principal between its
// bounds.
func (p *policy) amount() int64 {
	canTrade := p.hasName && p.hasAccountID && !p.accountIDIsOld && p.configFlags&scheduledForDeletion == 0
	switch {
	case !canTrade || p.maxPrincipal < p.minPrincipal:
		return 0
	case p.principal < p.minPrincipal:
		return difference(p.minPrincipal, p.principal)
	case p.principal > p.maxPrincipal:
		return -difference(p.principal, p.maxPrincipal)
	default:
		return 0
	}
}

// difference returns how much larger one number is than the other, or the largest number if it is even more.
func difference(larger, smaller int64) int64 {
	return int64(min(uint64(larger)-uint64(smaller), math.MaxInt64)) //nolint:gosec // it wraps to the right result
}
