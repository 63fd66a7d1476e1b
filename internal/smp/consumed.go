package smp

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Names of the message types from accounting authorities (section 4.2).
const (
	TypeRejectedConfig    = "RejectedConfig"
	TypeRejectedTransfer  = "RejectedTransfer"
	TypePreparedTransfer  = "PreparedTransfer"
	TypeFinalizedTransfer = "FinalizedTransfer"
	TypeAccountUpdate     = "AccountUpdate"
	TypeAccountPurge      = "AccountPurge"
	TypeAccountTransfer   = "AccountTransfer"
)

// RejectedConfig tells that a ConfigureAccount was refused (section 4.2).
type RejectedConfig struct {
	DebtorID         swpt.DebtorID   `json:"debtor_id"`
	CreditorID       swpt.CreditorID `json:"creditor_id"`
	ConfigTS         time.Time       `json:"config_ts"`
	ConfigSeqnum     int32           `json:"config_seqnum"`
	NegligibleAmount float64         `json:"negligible_amount" validate:"min=0"` // tokens
	ConfigData       string          `json:"config_data" validate:"bytes=2000"`
	ConfigFlags      int32           `json:"config_flags"`
	RejectionCode    string          `json:"rejection_code" validate:"max=30,ascii"`
	TS               time.Time       `json:"ts"`
}

// RejectedTransfer tells that a PrepareTransfer was refused (section 4.2).
type RejectedTransfer struct {
	DebtorID             swpt.DebtorID   `json:"debtor_id"`
	CreditorID           swpt.CreditorID `json:"creditor_id"`
	CoordinatorType      string          `json:"coordinator_type" validate:"min=1,max=30,ascii"`
	CoordinatorID        int64           `json:"coordinator_id"`
	CoordinatorRequestID int64           `json:"coordinator_request_id"`
	StatusCode           string          `json:"status_code" validate:"max=30,ascii,ne=OK"`
	TotalLockedAmount    int64           `json:"total_locked_amount" validate:"min=0"` // tokens
	TS                   time.Time       `json:"ts"`
}

// PreparedTransfer tells, or reminds, that an amount has been secured. It must eventually be answered with a
// FinalizeTransfer (section 4.2).
type PreparedTransfer struct {
	DebtorID             swpt.DebtorID   `json:"debtor_id"`
	CreditorID           swpt.CreditorID `json:"creditor_id"`
	CoordinatorType      string          `json:"coordinator_type" validate:"min=1,max=30,ascii"`
	CoordinatorID        int64           `json:"coordinator_id"`
	CoordinatorRequestID int64           `json:"coordinator_request_id"`
	TransferID           int64           `json:"transfer_id"`
	LockedAmount         int64           `json:"locked_amount" validate:"min=0"`     // tokens
	Recipient            string          `json:"recipient" validate:"max=100,ascii"` // account ID
	PreparedAt           time.Time       `json:"prepared_at"`
	Deadline             time.Time       `json:"deadline"`
	FinalInterestRateTS  time.Time       `json:"final_interest_rate_ts"`
	DemurrageRate        float64         `json:"demurrage_rate" validate:"min=-100,max=0"` // percent per year
	TS                   time.Time       `json:"ts"`
}

// FinalizedTransfer is the outcome of a FinalizeTransfer. CommittedAmount is 0 unless StatusCode is [StatusOK]
// (section 4.2).
type FinalizedTransfer struct {
	DebtorID             swpt.DebtorID   `json:"debtor_id"`
	CreditorID           swpt.CreditorID `json:"creditor_id"`
	CoordinatorType      string          `json:"coordinator_type" validate:"min=1,max=30,ascii"`
	CoordinatorID        int64           `json:"coordinator_id"`
	CoordinatorRequestID int64           `json:"coordinator_request_id"`
	TransferID           int64           `json:"transfer_id"`
	CommittedAmount      int64           `json:"committed_amount" validate:"min=0"` // tokens
	StatusCode           string          `json:"status_code" validate:"max=30,ascii"`
	TotalLockedAmount    int64           `json:"total_locked_amount" validate:"min=0"` // tokens
	PreparedAt           time.Time       `json:"prepared_at"`
	TS                   time.Time       `json:"ts"`
}

// AccountUpdate is the state of an account, repeated regularly as a heartbeat. It has expired when more than TTL
// seconds have passed since TS (section 4.2).
type AccountUpdate struct {
	DebtorID                 swpt.DebtorID   `json:"debtor_id"`
	CreditorID               swpt.CreditorID `json:"creditor_id"`
	CreationDate             Date            `json:"creation_date"`
	LastChangeTS             time.Time       `json:"last_change_ts"`
	LastChangeSeqnum         int32           `json:"last_change_seqnum"`
	Principal                int64           `json:"principal"`                         // tokens
	Interest                 float64         `json:"interest"`                          // tokens
	InterestRate             float64         `json:"interest_rate" validate:"min=-100"` // percent per year
	LastInterestRateChangeTS time.Time       `json:"last_interest_rate_change_ts"`
	LastConfigTS             time.Time       `json:"last_config_ts"`
	LastConfigSeqnum         int32           `json:"last_config_seqnum"`
	NegligibleAmount         float64         `json:"negligible_amount" validate:"min=0"` // tokens
	ConfigFlags              int32           `json:"config_flags"`
	ConfigData               string          `json:"config_data" validate:"bytes=2000"`
	AccountID                string          `json:"account_id" validate:"max=100,ascii"` // empty: no identity yet
	DebtorInfoIRI            string          `json:"debtor_info_iri" validate:"max=200"`  // empty: none
	DebtorInfoContentType    string          `json:"debtor_info_content_type" validate:"max=100,ascii"`
	DebtorInfoSHA256         string          `json:"debtor_info_sha256" validate:"sha256hex"` // empty, or 64 hexadecimal digits
	LastTransferNumber       int64           `json:"last_transfer_number" validate:"min=0"`
	LastTransferCommittedAt  time.Time       `json:"last_transfer_committed_at"`
	DemurrageRate            float64         `json:"demurrage_rate" validate:"min=-100,max=0"` // percent per year
	CommitPeriod             int32           `json:"commit_period" validate:"min=0"`           // seconds
	TransferNoteMaxBytes     int32           `json:"transfer_note_max_bytes" validate:"min=0,max=500"`
	TTL                      int32           `json:"ttl" validate:"min=0"` // seconds
	TS                       time.Time       `json:"ts"`
}

// Version returns the place of the update in the history of its account.
func (m *AccountUpdate) Version() AccountVersion {
	return AccountVersion{
		CreationDate:     m.CreationDate,
		LastChangeTS:     m.LastChangeTS,
		LastChangeSeqnum: m.LastChangeSeqnum,
	}
}

// AccountPurge tells that an account has been removed (section 4.2).
type AccountPurge struct {
	DebtorID     swpt.DebtorID   `json:"debtor_id"`
	CreditorID   swpt.CreditorID `json:"creditor_id"`
	CreationDate Date            `json:"creation_date"`
	TS           time.Time       `json:"ts"`
}

// AccountTransfer tells that a committed transfer has changed an account (section 4.2).
type AccountTransfer struct {
	DebtorID               swpt.DebtorID   `json:"debtor_id"`
	CreditorID             swpt.CreditorID `json:"creditor_id"`
	CreationDate           Date            `json:"creation_date"`
	TransferNumber         int64           `json:"transfer_number" validate:"min=1"` // greater than the previous one
	CoordinatorType        string          `json:"coordinator_type" validate:"min=1,max=30,ascii"`
	Sender                 string          `json:"sender" validate:"max=100,ascii"`    // account ID; empty: unknown
	Recipient              string          `json:"recipient" validate:"max=100,ascii"` // account ID; empty: unknown
	AcquiredAmount         int64           `json:"acquired_amount" validate:"ne=0"`    // tokens; negative: this account is the sender
	TransferNoteFormat     string          `json:"transfer_note_format" validate:"noteformat"`
	TransferNote           string          `json:"transfer_note" validate:"bytes=500"`
	CommittedAt            time.Time       `json:"committed_at"`
	Principal              int64           `json:"principal"` // tokens
	PreviousTransferNumber int64           `json:"previous_transfer_number" validate:"min=0"`
	TS                     time.Time       `json:"ts"`
}

// Type implements [Message].
func (*RejectedConfig) Type() string { return TypeRejectedConfig }

// Type implements [Message].
func (*RejectedTransfer) Type() string { return TypeRejectedTransfer }

// Type implements [Message].
func (*PreparedTransfer) Type() string { return TypePreparedTransfer }

// Type implements [Message].
func (*FinalizedTransfer) Type() string { return TypeFinalizedTransfer }

// Type implements [Message].
func (*AccountUpdate) Type() string { return TypeAccountUpdate }

// Type implements [Message].
func (*AccountPurge) Type() string { return TypeAccountPurge }

// Type implements [Message].
func (*AccountTransfer) Type() string { return TypeAccountTransfer }

// ShardKey implements [Message].
func (m *RejectedConfig) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *RejectedTransfer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *PreparedTransfer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *FinalizedTransfer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *AccountUpdate) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *AccountPurge) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *AccountTransfer) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// AppendJSON implements [Message].
func (m *RejectedConfig) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *RejectedTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *PreparedTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *FinalizedTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *AccountUpdate) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *AccountPurge) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *AccountTransfer) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }
