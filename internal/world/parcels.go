package world

import (
	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// By these names the parties of the protocol know each other's software.
const (
	gatewayApp = "swpt_stomp"
	agentApp   = "swpt_creditors"
)

// parties returns whose account a message is about, and in which currency.
func parties(m smp.Message) (swpt.CreditorID, swpt.DebtorID) {
	switch m := m.(type) {
	case *smp.ConfigureAccount:
		return m.CreditorID, m.DebtorID
	case *smp.PrepareTransfer:
		return m.CreditorID, m.DebtorID
	case *smp.FinalizeTransfer:
		return m.CreditorID, m.DebtorID
	case *smp.RejectedConfig:
		return m.CreditorID, m.DebtorID
	case *smp.AccountUpdate:
		return m.CreditorID, m.DebtorID
	case *smp.AccountPurge:
		return m.CreditorID, m.DebtorID
	case *smp.AccountTransfer:
		return m.CreditorID, m.DebtorID
	case *smp.RejectedTransfer:
		return m.CreditorID, m.DebtorID
	case *smp.PreparedTransfer:
		return m.CreditorID, m.DebtorID
	case *smp.FinalizedTransfer:
		return m.CreditorID, m.DebtorID
	case *smp.UpdatedLedger:
		return m.CreditorID, m.DebtorID
	case *smp.UpdatedPolicy:
		return m.CreditorID, m.DebtorID
	case *smp.UpdatedFlags:
		return m.CreditorID, m.DebtorID
	default:
		return 0, 0
	}
}

// coordinator returns who coordinates the transfer that a message of an authority is about.
func coordinator(m smp.Message) (kind string, id int64) {
	switch m := m.(type) {
	case *smp.RejectedTransfer:
		return m.CoordinatorType, m.CoordinatorID
	case *smp.PreparedTransfer:
		return m.CoordinatorType, m.CoordinatorID
	case *smp.FinalizedTransfer:
		return m.CoordinatorType, m.CoordinatorID
	default:
		return "", 0
	}
}

// body returns the body of a message. One that cannot be written is published as an empty one, and the journal tells
// why: it validates all messages.
func body(m smp.Message) []byte {
	text, err := m.AppendJSON(nil)
	if err != nil {
		return []byte("{}")
	}
	return text
}

// authorityParcel returns how a message of an authority travels (peers.md, section 6.1).
func authorityParcel(m smp.Message) *parcel {
	creditor, debtor := parties(m)
	kind, coordinatorID := coordinator(m)
	isAnswer := kind == smp.CoordinatorAgent
	transfer, isTransfer := m.(*smp.AccountTransfer)
	isAgents := isTransfer && transfer.CoordinatorType == smp.CoordinatorAgent
	toTrade := journal.IsCollector(creditor) || isAnswer || isAgents

	headers := map[string]any{
		"message-type": m.Type(), "creditor-id": int64(creditor), "debtor-id": int64(debtor),
		"ca-trade": toTrade, "ca-creditors": !journal.IsCollector(creditor) && !isAnswer,
	}
	if kind != "" {
		headers["coordinator-type"], headers["coordinator-id"] = kind, coordinatorID
	}
	key := int64(creditor)
	if isAnswer {
		key = coordinatorID
	}
	return &parcel{
		message: m, toService: toTrade,
		publishing: broker.Publishing{
			Exchange: broker.CreditorsIn, RoutingKey: shard.KeyOf(key).RoutingKey(), Mandatory: true,
			ContentType: smp.ContentType, Type: m.Type(), AppID: gatewayApp, Headers: headers, Body: body(m),
		},
	}
}

// outgoingParcel returns how a message of the creditors agent to an authority travels.
func outgoingParcel(m smp.Outgoing) *parcel {
	envelope := m.Envelope()
	return &parcel{
		message: m,
		publishing: broker.Publishing{
			Exchange: broker.CreditorsOut, RoutingKey: shard.HexRoutingKey(envelope.DebtorID), Mandatory: envelope.Mandatory,
			ContentType: smp.ContentType, Type: m.Type(), AppID: agentApp, Headers: envelope.Headers(), Body: body(m),
		},
	}
}

// notificationParcel returns how a message of the creditors agent to the service travels.
func notificationParcel(m smp.Message) *parcel {
	creditor, _ := parties(m)
	return &parcel{
		message: m,
		publishing: broker.Publishing{
			Exchange: broker.ToTrade, RoutingKey: shard.KeyOf(creditor).RoutingKey(), Mandatory: true,
			ContentType: smp.ContentType, Type: m.Type(), AppID: agentApp,
			Headers: map[string]any{"message-type": m.Type()}, Body: body(m),
		},
	}
}

// loopbackParcel returns how a message of the creditors agent to itself travels.
func loopbackParcel(m *smp.RejectedConfig) *parcel {
	return &parcel{
		message: m,
		publishing: broker.Publishing{
			Exchange: broker.CreditorsAgent, RoutingKey: shard.KeyOf(m.CreditorID).RoutingKey(), Mandatory: true,
			ContentType: smp.ContentType, Type: m.Type(), AppID: agentApp,
			Headers: map[string]any{"message-type": m.Type()}, Body: body(m),
		},
	}
}
