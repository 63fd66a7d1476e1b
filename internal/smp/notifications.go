package smp

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Names of the creditors agent's notifications (section 4.3).
const (
	TypeUpdatedLedger = "UpdatedLedger"
	TypeUpdatedPolicy = "UpdatedPolicy"
	TypeUpdatedFlags  = "UpdatedFlags"
)

// UpdatedLedger tells that the ledger of a user account has changed (section 4.3).
type UpdatedLedger struct {
	DebtorID           swpt.DebtorID   `json:"debtor_id"`
	CreditorID         swpt.CreditorID `json:"creditor_id"`
	UpdateID           int64           `json:"update_id" validate:"min=1"`
	AccountID          string          `json:"account_id" validate:"max=100"` // may be empty
	CreationDate       Date            `json:"creation_date"`
	Principal          int64           `json:"principal"` // tokens
	LastTransferNumber int64           `json:"last_transfer_number" validate:"min=0"`
	TS                 time.Time       `json:"ts"`
}

// UpdatedPolicy tells that the exchange policy of a user account has changed (section 4.3).
type UpdatedPolicy struct {
	DebtorID        swpt.DebtorID   `json:"debtor_id"`
	CreditorID      swpt.CreditorID `json:"creditor_id"`
	UpdateID        int64           `json:"update_id" validate:"min=1"`
	PolicyName      *string         `json:"policy_name"`                                // nil: no automatic exchange
	MinPrincipal    int64           `json:"min_principal"`                              // tokens, at most MaxPrincipal
	MaxPrincipal    int64           `json:"max_principal"`                              // tokens
	PegExchangeRate *float64        `json:"peg_exchange_rate" validate:"omitnil,min=0"` // tokens of the peg's currency for one token
	PegDebtorID     *swpt.DebtorID  `json:"peg_debtor_id"`                              // given with PegExchangeRate, and only then
	TS              time.Time       `json:"ts"`
}

// UpdatedFlags tells that the configuration flags of a user account have changed (section 4.3).
type UpdatedFlags struct {
	DebtorID    swpt.DebtorID   `json:"debtor_id"`
	CreditorID  swpt.CreditorID `json:"creditor_id"`
	UpdateID    int64           `json:"update_id" validate:"min=1"`
	ConfigFlags int32           `json:"config_flags"`
	TS          time.Time       `json:"ts"`
}

// Type implements [Message].
func (*UpdatedLedger) Type() string { return TypeUpdatedLedger }

// Type implements [Message].
func (*UpdatedPolicy) Type() string { return TypeUpdatedPolicy }

// Type implements [Message].
func (*UpdatedFlags) Type() string { return TypeUpdatedFlags }

// ShardKey implements [Message].
func (m *UpdatedLedger) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *UpdatedPolicy) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// ShardKey implements [Message].
func (m *UpdatedFlags) ShardKey() ShardKey { return creditorKey(m.CreditorID) }

// AppendJSON implements [Message].
func (m *UpdatedLedger) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *UpdatedPolicy) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }

// AppendJSON implements [Message].
func (m *UpdatedFlags) AppendJSON(dst []byte) ([]byte, error) { return appendJSON(dst, m) }
