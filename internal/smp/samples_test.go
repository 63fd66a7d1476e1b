package smp_test

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

var (
	sentAt  = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	changed = time.Date(2025, 1, 2, 3, 4, 5, 678901000, time.UTC)
	endless = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	created = smp.DateOf(time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC))
)

const collector = 1099511627776

// samples returns messages by the names of their golden files. Where a type has but one sample, that is its name.
func samples() map[string]smp.Message {
	all := make(map[string]smp.Message)
	maps.Copy(all, authoritySamples())
	maps.Copy(all, agentSamples())
	maps.Copy(all, workerSamples())
	return all
}

// authoritySamples are messages to and from accounting authorities.
func authoritySamples() map[string]smp.Message {
	return map[string]smp.Message{
		"ConfigureAccount": &smp.ConfigureAccount{
			DebtorID: 666, CreditorID: collector, TS: changed, NegligibleAmount: 1e30,
		},
		"PrepareTransfer": &smp.PrepareTransfer{
			CreditorID: 123, DebtorID: -2, CoordinatorType: "agent", CoordinatorID: 123,
			CoordinatorRequestID: math.MaxInt64, MinLockedAmount: 1, MaxLockedAmount: 1 << 60,
			Recipient: "a b\t\"\\\x7f", FinalInterestRateTS: endless, MaxCommitDelay: math.MaxInt32, TS: sentAt,
		},
		"FinalizeTransfer": &smp.FinalizeTransfer{
			CreditorID: 123, DebtorID: 666, TransferID: 9, CoordinatorType: "agent", CoordinatorID: 123,
			CoordinatorRequestID: 77, CommittedAmount: 1000, TransferNoteFormat: smp.NoteFormat,
			TransferNote: smp.Note{Kind: smp.Collecting, TurnID: 1, First: collector, Second: 123}.String(), TS: sentAt,
		},
		"RejectedConfig": &smp.RejectedConfig{
			DebtorID: 666, CreditorID: collector, ConfigTS: changed, ConfigSeqnum: math.MinInt32,
			NegligibleAmount: 0.5, ConfigData: "настройки <&> \u2028", ConfigFlags: 1,
			RejectionCode: "INVALID_CONFIG", TS: sentAt,
		},
		"RejectedTransfer": &smp.RejectedTransfer{
			DebtorID: 666, CreditorID: 123, CoordinatorType: "agent", CoordinatorID: 123, CoordinatorRequestID: 77,
			StatusCode: "INSUFFICIENT_AVAILABLE_AMOUNT", TotalLockedAmount: math.MaxInt64, TS: sentAt,
		},
		"PreparedTransfer": &smp.PreparedTransfer{
			DebtorID: 666, CreditorID: 123, CoordinatorType: "agent", CoordinatorID: 123, CoordinatorRequestID: 77,
			TransferID: math.MinInt64, LockedAmount: 1000, Recipient: "recipient", PreparedAt: changed,
			Deadline: endless, FinalInterestRateTS: endless, DemurrageRate: -3.14, TS: sentAt,
		},
		"FinalizedTransfer": &smp.FinalizedTransfer{
			DebtorID: 666, CreditorID: 123, CoordinatorType: "agent", CoordinatorID: 123, CoordinatorRequestID: 77,
			TransferID: 9, CommittedAmount: 1000, StatusCode: "OK", PreparedAt: changed, TS: sentAt,
		},
		"AccountUpdate": &smp.AccountUpdate{
			DebtorID: math.MinInt64, CreditorID: math.MaxInt64, CreationDate: created, LastChangeTS: changed,
			LastChangeSeqnum: -1, Principal: 9007199254740993, Interest: 1e-5, InterestRate: -100,
			LastInterestRateChangeTS: sentAt, LastConfigTS: sentAt, LastConfigSeqnum: 2, NegligibleAmount: 1e30,
			ConfigData: "{}", AccountID: "account", DebtorInfoIRI: "https://пример.рф/", DebtorInfoContentType: "text/plain",
			DebtorInfoSHA256:   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			LastTransferNumber: 5, LastTransferCommittedAt: sentAt, DemurrageRate: -50, CommitPeriod: 2592000,
			TransferNoteMaxBytes: 500, TTL: 604800, TS: sentAt,
		},
		"AccountPurge": &smp.AccountPurge{DebtorID: 666, CreditorID: collector, CreationDate: created, TS: sentAt},
		"AccountTransfer": &smp.AccountTransfer{
			DebtorID: 666, CreditorID: 123, CreationDate: created, TransferNumber: 6, CoordinatorType: "agent",
			Recipient: "collector", AcquiredAmount: math.MinInt64, TransferNoteFormat: smp.NoteFormat,
			TransferNote: smp.Note{Kind: smp.Collecting, TurnID: -1, First: collector, Second: 123}.String(),
			CommittedAt:  changed, Principal: math.MinInt64, PreviousTransferNumber: 5, TS: sentAt,
		},
	}
}

// agentSamples are messages from the creditors agent.
func agentSamples() map[string]smp.Message {
	return map[string]smp.Message{
		"UpdatedLedger": &smp.UpdatedLedger{
			DebtorID: 666, CreditorID: 123, UpdateID: 1, AccountID: "account", CreationDate: created,
			Principal: -1000, LastTransferNumber: 5, TS: sentAt,
		},
		"UpdatedPolicy": &smp.UpdatedPolicy{
			DebtorID: 666, CreditorID: 123, UpdateID: 2, PolicyName: new("conservative"), MinPrincipal: -5,
			MaxPrincipal: 5, PegExchangeRate: new(1.0), PegDebtorID: new(swpt.DebtorID(0)), TS: sentAt,
		},
		"UpdatedPolicy.deleted": &smp.UpdatedPolicy{
			DebtorID: 666, CreditorID: 123, UpdateID: 3, MinPrincipal: math.MinInt64, MaxPrincipal: math.MaxInt64, TS: sentAt,
		},
		"UpdatedFlags": &smp.UpdatedFlags{DebtorID: 666, CreditorID: 123, UpdateID: 4, ConfigFlags: -1, TS: sentAt},
	}
}

// workerSamples are messages between workers.
func workerSamples() map[string]smp.Message {
	const iri = "https://example.com/iri"
	return map[string]smp.Message{
		"FetchDebtorInfo": &smp.FetchDebtorInfo{IRI: iri, DebtorID: 666, IsDiscoveryFetch: true, TS: sentAt},
		"FetchDebtorInfo.forced": &smp.FetchDebtorInfo{
			IRI: iri, DebtorID: 666, IsLocatorFetch: true, ForcedIRI: new(""), RecursionLevel: 32767, TS: sentAt,
		},
		"StoreDocument": &smp.StoreDocument{DebtorInfoLocator: iri, DebtorID: 666, TS: changed},
		"StoreDocument.pegged": &smp.StoreDocument{
			DebtorInfoLocator: iri, DebtorID: 666, PegDebtorInfoLocator: new("https://пример.рф/"),
			PegDebtorID: new(swpt.DebtorID(-7)), PegExchangeRate: new(0.1), WillNotChangeUntil: new(endless), TS: changed,
		},
		"DiscoverDebtor":    &smp.DiscoverDebtor{DebtorID: 666, IRI: iri, ForceLocatorRefetch: true, TS: sentAt},
		"ConfirmDebtor":     &smp.ConfirmDebtor{DebtorID: 666, DebtorInfoLocator: iri, TS: sentAt},
		"ActivateCollector": &smp.ActivateCollector{DebtorID: 666, CreditorID: collector, AccountID: "счёт", TS: sentAt},
		"CandidateOffer": &smp.CandidateOffer{
			TurnID: 70000, DebtorID: 666, CreditorID: 123, Amount: -math.MaxInt64, AccountCreationDate: created,
			LastTransferNumber: 5, TS: sentAt,
		},
		"NeededCollector":   &smp.NeededCollector{DebtorID: -1, TS: sentAt},
		"ReviseAccountLock": &smp.ReviseAccountLock{CreditorID: 123, DebtorID: 666, TurnID: 7, TS: sentAt},
		"TriggerTransfer": &smp.TriggerTransfer{
			CollectorID: collector, TurnID: 7, DebtorID: 666, CreditorID: 123, IsDispatching: true, TS: sentAt,
		},
		"AccountIdRequest": &smp.AccountIDRequest{
			CollectorID: collector, TurnID: 7, DebtorID: 666, CreditorID: collector + 1, TS: sentAt,
		},
		"AccountIdResponse": &smp.AccountIDResponse{
			CollectorID: collector, TurnID: 7, DebtorID: 666, CreditorID: 123, IsDispatching: true,
			AccountIDVersion: math.MinInt64, TS: sentAt,
		},
		"StartSending":     &smp.StartSending{CollectorID: collector, TurnID: 7, DebtorID: 666, TS: sentAt},
		"StartDispatching": &smp.StartDispatching{CollectorID: collector, TurnID: -7, DebtorID: 666, TS: sentAt},
		"CollectingFailed": &smp.CollectingFailed{
			CollectorID: collector, TurnID: 7, DebtorID: 666, CreditorID: 123, TS: sentAt,
		},
		"NothingToReceive": &smp.NothingToReceive{
			CollectorID: collector, TurnID: 7, DebtorID: 666, FromCollectorID: collector + 1, TS: sentAt,
		},
		"LockAbandoned": &smp.LockAbandoned{CreditorID: 123, DebtorID: 666, TurnID: 7, TS: sentAt},
	}
}

// sampleNames returns the names of the samples in alphabetical order.
func sampleNames() []string { return slices.Sorted(maps.Keys(samples())) }

// blank returns a new, zero message of the same type.
func blank(m smp.Message) smp.Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(smp.Message)
}

// consumable tells whether the service accepts messages of m's type.
func consumable(m smp.Message) bool {
	switch m.(type) {
	case *smp.ConfigureAccount, *smp.PrepareTransfer, *smp.FinalizeTransfer:
		return false
	default:
		return true
	}
}

// encode returns the body of a message that can be written.
func encode(tb testing.TB, m smp.Message) []byte {
	tb.Helper()
	body, err := m.AppendJSON(nil)
	if err != nil {
		tb.Fatalf("writing %#v: %v", m, err)
	}
	return body
}

// altered returns the body of a sample in which some fields have been replaced, or with an empty text removed.
func altered(tb testing.TB, sample string, changes map[string]string) []byte {
	tb.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(encode(tb, samples()[sample]), &fields); err != nil {
		tb.Fatal(err)
	}
	for name, value := range changes {
		if value == "" {
			delete(fields, name)
		} else {
			fields[name] = json.RawMessage(value)
		}
	}
	body := []byte("{")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		body = append(body, `"`+name+`": `...)
		body = append(append(body, fields[name]...), ", "...)
	}
	return append(body[:len(body)-2], '}')
}
