package world

import (
	"errors"
	"fmt"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Each authority gives the creditors agent a range of numbers of its own, which differ in the highest 24 bits. The
// gateway replaces them in both directions (peers.md, section 6.1). Account IDs and notes are texts, and stay as they
// are.
const (
	rangeShift = 40
	ourRange   = 1 // of the creditors agent and the service: 0x000001…
	firstRange = 2 // of the first authority
)

// errForeignNumber tells that a message is about a creditor who is not of the range that the sender may use.
var errForeignNumber = errors.New("an ID that is not of the creditors agent")

// renumbered returns an ID with another range. The ID of the root has none.
func renumbered(id, to int64) int64 {
	if id == 0 {
		return 0
	}
	return id&(1<<rangeShift-1) | to<<rangeShift
}

func isOfRange(id, number int64) bool { return id>>rangeShift == number }

// toAuthority returns a message of the service as the authority with the given range of numbers sees it.
func toAuthority(m smp.Message, number int64) (smp.Message, error) {
	check := func(ids ...int64) error {
		for _, id := range ids {
			if !isOfRange(id, ourRange) {
				return fmt.Errorf("%w in a message of type %s: %#x", errForeignNumber, m.Type(), uint64(id))
			}
		}
		return nil
	}
	switch m := m.(type) {
	case *smp.ConfigureAccount:
		theirs := *m
		theirs.CreditorID = swpt.CreditorID(renumbered(int64(m.CreditorID), number))
		return &theirs, check(int64(m.CreditorID))
	case *smp.PrepareTransfer:
		theirs := *m
		theirs.CreditorID = swpt.CreditorID(renumbered(int64(m.CreditorID), number))
		theirs.CoordinatorID = renumbered(m.CoordinatorID, number)
		return &theirs, check(int64(m.CreditorID), m.CoordinatorID)
	case *smp.FinalizeTransfer:
		theirs := *m
		theirs.CreditorID = swpt.CreditorID(renumbered(int64(m.CreditorID), number))
		theirs.CoordinatorID = renumbered(m.CoordinatorID, number)
		return &theirs, check(int64(m.CreditorID), m.CoordinatorID)
	default:
		return nil, fmt.Errorf("a message of type %s is not for authorities", m.Type())
	}
}

// fromAuthority returns a message of an authority with the numbers of the creditors agent.
func fromAuthority(m smp.Message) smp.Message {
	creditor := func(id swpt.CreditorID) swpt.CreditorID { return swpt.CreditorID(renumbered(int64(id), ourRange)) }
	switch m := m.(type) {
	case *smp.RejectedConfig:
		ours := *m
		ours.CreditorID = creditor(m.CreditorID)
		return &ours
	case *smp.AccountUpdate:
		ours := *m
		ours.CreditorID = creditor(m.CreditorID)
		return &ours
	case *smp.AccountPurge:
		ours := *m
		ours.CreditorID = creditor(m.CreditorID)
		return &ours
	case *smp.AccountTransfer:
		ours := *m
		ours.CreditorID = creditor(m.CreditorID)
		return &ours
	case *smp.RejectedTransfer:
		ours := *m
		ours.CreditorID, ours.CoordinatorID = creditor(m.CreditorID), renumbered(m.CoordinatorID, ourRange)
		return &ours
	case *smp.PreparedTransfer:
		ours := *m
		ours.CreditorID, ours.CoordinatorID = creditor(m.CreditorID), renumbered(m.CoordinatorID, ourRange)
		return &ours
	case *smp.FinalizedTransfer:
		ours := *m
		ours.CreditorID, ours.CoordinatorID = creditor(m.CreditorID), renumbered(m.CoordinatorID, ourRange)
		return &ours
	default:
		return m
	}
}
