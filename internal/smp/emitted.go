package smp

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Names of the message types to accounting authorities (section 4.1).
const (
	TypeConfigureAccount = "ConfigureAccount"
	TypePrepareTransfer  = "PrepareTransfer"
	TypeFinalizeTransfer = "FinalizeTransfer"
)

// ConfigureAccount creates or reconfigures an account (section 4.1).
type ConfigureAccount struct {
	DebtorID         swpt.DebtorID   `json:"debtor_id"`
	CreditorID       swpt.CreditorID `json:"creditor_id"`
	TS               time.Time       `json:"ts"`
	Seqnum           int32           `json:"seqnum"`
	NegligibleAmount float64         `json:"negligible_amount" validate:"min=0"` // tokens
	ConfigData       string          `json:"config_data" validate:"bytes=2000"`
	ConfigFlags      int32           `json:"config_flags"` // bit 0: scheduled for deletion
}

// PrepareTransfer asks to secure an amount on the account (CreditorID, DebtorID) (section 4.1).
type PrepareTransfer struct {
	CreditorID           swpt.CreditorID `json:"creditor_id"`
	DebtorID             swpt.DebtorID   `json:"debtor_id"`
	CoordinatorType      string          `json:"coordinator_type" validate:"min=1,max=30,ascii"`
	CoordinatorID        int64           `json:"coordinator_id"`
	CoordinatorRequestID int64           `json:"coordinator_request_id"`
	MinLockedAmount      int64           `json:"min_locked_amount" validate:"min=0"` // tokens, at most MaxLockedAmount
	MaxLockedAmount      int64           `json:"max_locked_amount" validate:"min=0"` // tokens
	Recipient            string          `json:"recipient" validate:"max=100,ascii"` // account ID
	FinalInterestRateTS  time.Time       `json:"final_interest_rate_ts"`
	MaxCommitDelay       int32           `json:"max_commit_delay" validate:"min=0"` // seconds
	TS                   time.Time       `json:"ts"`
}

// FinalizeTransfer commits a prepared transfer (CommittedAmount > 0), or dismisses it (0) (section 4.1).
type FinalizeTransfer struct {
	CreditorID           swpt.CreditorID `json:"creditor_id"`
	DebtorID             swpt.DebtorID   `json:"debtor_id"`
	TransferID           int64           `json:"transfer_id"`
	CoordinatorType      string          `json:"coordinator_type" validate:"min=1,max=30,ascii"`
	CoordinatorID        int64           `json:"coordinator_id"`
	CoordinatorRequestID int64           `json:"coordinator_request_id"`
	CommittedAmount      int64           `json:"committed_amount" validate:"min=0"` // tokens
	TransferNoteFormat   string          `json:"transfer_note_format" validate:"noteformat"`
	TransferNote         string          `json:"transfer_note" validate:"bytes=500"`
	TS                   time.Time       `json:"ts"`
}

// Type implements [Message].
func (*ConfigureAccount) Type() string { return TypeConfigureAccount }

// Type implements [Message].
func (*PrepareTransfer) Type() string { return TypePrepareTransfer }

// Type implements [Message].
func (*FinalizeTransfer) Type() string { return TypeFinalizeTransfer }

// ShardKey implements [Message].
func (m *ConfigureAccount) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *PrepareTransfer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *FinalizeTransfer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// AppendJSON implements [Message].
func (m *ConfigureAccount) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *PrepareTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *FinalizeTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// Envelope implements [Outgoing]. Nobody may be listening, because the accounting authority has not been connected yet:
// then the broker's alternate exchange takes care of the message, so it is not mandatory.
func (m *ConfigureAccount) Envelope() Envelope {
	return Envelope{
		Type:       TypeConfigureAccount,
		Class:      ClassSMP,
		Key:        m.ShardKey(),
		CreditorID: m.CreditorID,
		DebtorID:   m.DebtorID,
	}
}

// Envelope implements [Outgoing]. A PrepareTransfer that reaches nobody has no consequences, so it is not mandatory.
func (m *PrepareTransfer) Envelope() Envelope {
	return Envelope{
		Type:            TypePrepareTransfer,
		Class:           ClassSMP,
		Key:             m.ShardKey(),
		CreditorID:      m.CreditorID,
		DebtorID:        m.DebtorID,
		CoordinatorID:   m.CoordinatorID,
		CoordinatorType: m.CoordinatorType,
	}
}

// Envelope implements [Outgoing]. A lost FinalizeTransfer would leave an amount secured, so it is mandatory.
func (m *FinalizeTransfer) Envelope() Envelope {
	return Envelope{
		Type:            TypeFinalizeTransfer,
		Class:           ClassSMP,
		Mandatory:       true,
		Key:             m.ShardKey(),
		CreditorID:      m.CreditorID,
		DebtorID:        m.DebtorID,
		CoordinatorID:   m.CoordinatorID,
		CoordinatorType: m.CoordinatorType,
	}
}
