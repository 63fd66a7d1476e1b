package outbox

import (
	"maps"
	"slices"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// kinds holds, for each type of messages, what all of them have in common: the class, and whether they are mandatory.
var kinds = kindsOf(
	&smp.ConfigureAccount{}, &smp.PrepareTransfer{}, &smp.FinalizeTransfer{},
	&smp.FetchDebtorInfo{}, &smp.StoreDocument{}, &smp.DiscoverDebtor{}, &smp.ConfirmDebtor{}, &smp.ActivateCollector{},
	&smp.CandidateOffer{}, &smp.NeededCollector{}, &smp.ReviseAccountLock{}, &smp.TriggerTransfer{},
	&smp.AccountIDRequest{}, &smp.AccountIDResponse{}, &smp.StartSending{}, &smp.StartDispatching{},
	&smp.CollectingFailed{}, &smp.NothingToReceive{}, &smp.LockAbandoned{},
)

func kindsOf(messages ...smp.Outgoing) map[string]smp.Envelope {
	kinds := make(map[string]smp.Envelope, len(messages))
	for _, m := range messages {
		envelope := m.Envelope()
		kinds[m.Type()] = smp.Envelope{Type: m.Type(), Class: envelope.Class, Mandatory: envelope.Mandatory}
	}
	return kinds
}

// Types returns the names of all types of messages that go through the outbox, sorted.
func Types() []string {
	return slices.Sorted(maps.Keys(kinds))
}

// topicOf returns the topic of the notifications about new messages of a type.
func topicOf(typeName string) string {
	return "outbox/" + typeName
}

const (
	contentType = "application/json"
	appID       = "swpt_trade" // the protocol knows this service by the name of its first implementation
)

// publishing returns how a record of a type travels.
func publishing(kind smp.Envelope, record workerdb.LockPendingRow) broker.Publishing {
	envelope := kind
	envelope.CreditorID = record.CreditorID
	envelope.DebtorID = record.DebtorID
	envelope.CoordinatorID = record.CoordinatorID
	envelope.CoordinatorType = record.CoordinatorType
	p := broker.Publishing{
		Exchange:    broker.ToTrade,
		Mandatory:   kind.Mandatory,
		ContentType: contentType,
		Type:        kind.Type,
		AppID:       appID,
		Headers:     envelope.Headers(),
		Body:        []byte(record.Body),
	}
	if kind.Class == smp.ClassSMP {
		p.Exchange = broker.CreditorsOut
		p.RoutingKey = shard.HexRoutingKey(record.DebtorID)
	} else {
		p.RoutingKey = keyOf(record).RoutingKey()
	}
	return p
}

// keyOf returns the key of what a record is sharded by.
func keyOf(record workerdb.LockPendingRow) shard.Key {
	return shard.Key(uint32(record.ShardKey)) //nolint:gosec // 32 bits that the database takes for a signed number
}
