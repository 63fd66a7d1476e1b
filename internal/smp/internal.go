package smp

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Names of the messages between workers (section 4.4).
const (
	TypeFetchDebtorInfo   = "FetchDebtorInfo"
	TypeStoreDocument     = "StoreDocument"
	TypeDiscoverDebtor    = "DiscoverDebtor"
	TypeConfirmDebtor     = "ConfirmDebtor"
	TypeActivateCollector = "ActivateCollector"
	TypeCandidateOffer    = "CandidateOffer"
	TypeNeededCollector   = "NeededCollector"
	TypeReviseAccountLock = "ReviseAccountLock"
	TypeTriggerTransfer   = "TriggerTransfer"
	TypeAccountIDRequest  = "AccountIdRequest"
	TypeAccountIDResponse = "AccountIdResponse"
	TypeStartSending      = "StartSending"
	TypeStartDispatching  = "StartDispatching"
)

// Names of the messages between workers of this implementation only (section 4.5).
const (
	TypeCollectingFailed = "CollectingFailed"
	TypeNothingToReceive = "NothingToReceive"
	TypeLockAbandoned    = "LockAbandoned"
)

// FetchDebtorInfo asks to fetch a debtor info document over HTTPS (section 4.4).
type FetchDebtorInfo struct {
	IRI              string        `json:"iri"` // what to fetch, and under which name
	DebtorID         swpt.DebtorID `json:"debtor_id"`
	IsLocatorFetch   bool          `json:"is_locator_fetch"`
	IsDiscoveryFetch bool          `json:"is_discovery_fetch"`
	ForcedIRI        *string       `json:"forced_iri"`                                 // download from here instead, bypassing the stored copy
	RecursionLevel   int32         `json:"recursion_level" validate:"min=0,max=32767"` // links followed so far along the peg chain
	TS               time.Time     `json:"ts"`
}

// StoreDocument asks to store a fetched document. TS is the time of fetching. The three peg fields are given together,
// or not at all (section 4.4).
type StoreDocument struct {
	DebtorInfoLocator    string         `json:"debtor_info_locator"`
	DebtorID             swpt.DebtorID  `json:"debtor_id"`
	PegDebtorInfoLocator *string        `json:"peg_debtor_info_locator"`
	PegDebtorID          *swpt.DebtorID `json:"peg_debtor_id"`
	PegExchangeRate      *float64       `json:"peg_exchange_rate" validate:"omitnil,min=0"` // tokens of the peg's currency for one token
	WillNotChangeUntil   *time.Time     `json:"will_not_change_until"`
	TS                   time.Time      `json:"ts"`
}

// DiscoverDebtor asks to begin or renew the confirmation of a debtor (section 4.4).
type DiscoverDebtor struct {
	DebtorID            swpt.DebtorID `json:"debtor_id"`
	IRI                 string        `json:"iri"` // where a document of the debtor can be found
	ForceLocatorRefetch bool          `json:"force_locator_refetch"`
	TS                  time.Time     `json:"ts"`
}

// ConfirmDebtor tells that a debtor has claimed a locator (section 4.4).
type ConfirmDebtor struct {
	DebtorID          swpt.DebtorID `json:"debtor_id"`
	DebtorInfoLocator string        `json:"debtor_info_locator"`
	TS                time.Time     `json:"ts"`
}

// ActivateCollector tells that a collector account has got its account ID (section 4.4).
type ActivateCollector struct {
	DebtorID   swpt.DebtorID   `json:"debtor_id"`
	CreditorID swpt.CreditorID `json:"creditor_id"` // the collector
	AccountID  string          `json:"account_id" validate:"min=1,max=100"`
	TS         time.Time       `json:"ts"`
}

// CandidateOffer is a possible offer for a turn. It leads to locking the account (section 4.4).
type CandidateOffer struct {
	TurnID              int32           `json:"turn_id"`
	DebtorID            swpt.DebtorID   `json:"debtor_id"`
	CreditorID          swpt.CreditorID `json:"creditor_id"`
	Amount              int64           `json:"amount" validate:"min=-9223372036854775807,ne=0"` // tokens; negative sells, positive buys
	AccountCreationDate Date            `json:"account_creation_date"`
	LastTransferNumber  int64           `json:"last_transfer_number" validate:"min=0"`
	TS                  time.Time       `json:"ts"`
}

// NeededCollector tells that a currency needs a collector account (section 4.4).
type NeededCollector struct {
	DebtorID swpt.DebtorID `json:"debtor_id" validate:"ne=0"`
	TS       time.Time     `json:"ts"`
}

// ReviseAccountLock tells that a turn has been solved, so the account lock is to be settled (section 4.4).
type ReviseAccountLock struct {
	CreditorID swpt.CreditorID `json:"creditor_id"`
	DebtorID   swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	TurnID     int32           `json:"turn_id"`
	TS         time.Time       `json:"ts"`
}

// TriggerTransfer asks to make a transfer attempt now (section 4.4).
type TriggerTransfer struct {
	CollectorID   swpt.CreditorID `json:"collector_id"` // the sender
	TurnID        int32           `json:"turn_id"`
	DebtorID      swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	CreditorID    swpt.CreditorID `json:"creditor_id"`    // the recipient
	IsDispatching bool            `json:"is_dispatching"` // true: to a buyer; false: to another collector
	TS            time.Time       `json:"ts"`
}

// AccountIDRequest asks the shard of CreditorID for its account ID (section 4.4).
type AccountIDRequest struct {
	CollectorID   swpt.CreditorID `json:"collector_id"` // whose shard shall get the answer
	TurnID        int32           `json:"turn_id"`
	DebtorID      swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	CreditorID    swpt.CreditorID `json:"creditor_id"`
	IsDispatching bool            `json:"is_dispatching"`
	TS            time.Time       `json:"ts"`
}

// AccountIDResponse answers an AccountIDRequest (section 4.4).
type AccountIDResponse struct {
	CollectorID      swpt.CreditorID `json:"collector_id"`
	TurnID           int32           `json:"turn_id"`
	DebtorID         swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	CreditorID       swpt.CreditorID `json:"creditor_id"`
	IsDispatching    bool            `json:"is_dispatching"`
	AccountID        string          `json:"account_id" validate:"max=100"` // empty: unknown
	AccountIDVersion int64           `json:"account_id_version"`            // used only if greater than the one held
	TS               time.Time       `json:"ts"`
}

// StartSending tells that collecting is over for a collector: it shall begin sending (section 4.4).
type StartSending struct {
	CollectorID swpt.CreditorID `json:"collector_id"`
	TurnID      int32           `json:"turn_id"`
	DebtorID    swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	TS          time.Time       `json:"ts"`
}

// StartDispatching tells that receiving is over for a collector: it shall begin dispatching (section 4.4).
type StartDispatching struct {
	CollectorID swpt.CreditorID `json:"collector_id"`
	TurnID      int32           `json:"turn_id"`
	DebtorID    swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	TS          time.Time       `json:"ts"`
}

// CollectingFailed tells a collector that a seller's commit failed: it shall not wait for it (section 4.5).
type CollectingFailed struct {
	CollectorID swpt.CreditorID `json:"collector_id"`
	TurnID      int32           `json:"turn_id"`
	DebtorID    swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	CreditorID  swpt.CreditorID `json:"creditor_id"` // the seller
	TS          time.Time       `json:"ts"`
}

// NothingToReceive tells a receiving collector that another one will not send to it (section 4.5).
type NothingToReceive struct {
	CollectorID     swpt.CreditorID `json:"collector_id"` // the receiver
	TurnID          int32           `json:"turn_id"`
	DebtorID        swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	FromCollectorID swpt.CreditorID `json:"from_collector_id"`
	TS              time.Time       `json:"ts"`
}

// LockAbandoned tells that a buyer will not be paid in this turn: its account lock shall be released (section 4.5).
type LockAbandoned struct {
	CreditorID swpt.CreditorID `json:"creditor_id"`
	DebtorID   swpt.DebtorID   `json:"debtor_id" validate:"ne=0"`
	TurnID     int32           `json:"turn_id"`
	TS         time.Time       `json:"ts"`
}

// Type implements [Message].
func (*FetchDebtorInfo) Type() string { return TypeFetchDebtorInfo }

// Type implements [Message].
func (*StoreDocument) Type() string { return TypeStoreDocument }

// Type implements [Message].
func (*DiscoverDebtor) Type() string { return TypeDiscoverDebtor }

// Type implements [Message].
func (*ConfirmDebtor) Type() string { return TypeConfirmDebtor }

// Type implements [Message].
func (*ActivateCollector) Type() string { return TypeActivateCollector }

// Type implements [Message].
func (*CandidateOffer) Type() string { return TypeCandidateOffer }

// Type implements [Message].
func (*NeededCollector) Type() string { return TypeNeededCollector }

// Type implements [Message].
func (*ReviseAccountLock) Type() string { return TypeReviseAccountLock }

// Type implements [Message].
func (*TriggerTransfer) Type() string { return TypeTriggerTransfer }

// Type implements [Message].
func (*AccountIDRequest) Type() string { return TypeAccountIDRequest }

// Type implements [Message].
func (*AccountIDResponse) Type() string { return TypeAccountIDResponse }

// Type implements [Message].
func (*StartSending) Type() string { return TypeStartSending }

// Type implements [Message].
func (*StartDispatching) Type() string { return TypeStartDispatching }

// Type implements [Message].
func (*CollectingFailed) Type() string { return TypeCollectingFailed }

// Type implements [Message].
func (*NothingToReceive) Type() string { return TypeNothingToReceive }

// Type implements [Message].
func (*LockAbandoned) Type() string { return TypeLockAbandoned }

// ShardKey implements [Message].
func (m *FetchDebtorInfo) ShardKey() ShardKey { return textKey(m.IRI) }

// ShardKey implements [Message].
func (m *StoreDocument) ShardKey() ShardKey { return textKey(m.DebtorInfoLocator) }

// ShardKey implements [Message].
func (m *DiscoverDebtor) ShardKey() ShardKey { return debtorKey(m.DebtorID) }

// ShardKey implements [Message].
func (m *ConfirmDebtor) ShardKey() ShardKey { return debtorKey(m.DebtorID) }

// ShardKey implements [Message].
func (m *ActivateCollector) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *CandidateOffer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *NeededCollector) ShardKey() ShardKey { return debtorKey(m.DebtorID) }

// ShardKey implements [Message].
func (m *ReviseAccountLock) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *TriggerTransfer) ShardKey() ShardKey { return creditorKey(m.CollectorID) }

// ShardKey implements [Message].
func (m *AccountIDRequest) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *AccountIDResponse) ShardKey() ShardKey { return creditorKey(m.CollectorID) }

// ShardKey implements [Message].
func (m *StartSending) ShardKey() ShardKey { return creditorKey(m.CollectorID) }

// ShardKey implements [Message].
func (m *StartDispatching) ShardKey() ShardKey { return creditorKey(m.CollectorID) }

// ShardKey implements [Message].
func (m *CollectingFailed) ShardKey() ShardKey { return creditorKey(m.CollectorID) }

// ShardKey implements [Message].
func (m *NothingToReceive) ShardKey() ShardKey { return creditorKey(m.CollectorID) }

// ShardKey implements [Message].
func (m *LockAbandoned) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// AppendJSON implements [Message].
func (m *FetchDebtorInfo) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *StoreDocument) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *DiscoverDebtor) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *ConfirmDebtor) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *ActivateCollector) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *CandidateOffer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *NeededCollector) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *ReviseAccountLock) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *TriggerTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *AccountIDRequest) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *AccountIDResponse) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *StartSending) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *StartDispatching) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *CollectingFailed) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *NothingToReceive) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *LockAbandoned) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// Envelope implements [Outgoing].
func (m *FetchDebtorInfo) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *StoreDocument) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *DiscoverDebtor) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *ConfirmDebtor) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *ActivateCollector) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *CandidateOffer) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *NeededCollector) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *ReviseAccountLock) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *TriggerTransfer) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *AccountIDRequest) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *AccountIDResponse) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *StartSending) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *StartDispatching) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *CollectingFailed) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *NothingToReceive) Envelope() Envelope { return internalEnvelope(m) }

// Envelope implements [Outgoing].
func (m *LockAbandoned) Envelope() Envelope { return internalEnvelope(m) }
