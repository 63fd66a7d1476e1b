package config

import (
	"reflect"
	"slices"
	"strings"
)

// Bursts say how many outbox records are published in one transaction, at most, by message type.
type Bursts struct {
	// MessageTypes narrows the settings to these types of messages. It is given before loading; the variables of other
	// types are then not looked at. Nil: all types.
	MessageTypes []string

	// Outbox records published per transaction, for each type of messages.
	ConfigureAccount  int `env:"APP_FLUSH_CONFIGURE_ACCOUNTS_BURST_COUNT" default:"10000" validate:"gte=1"`
	PrepareTransfer   int `env:"APP_FLUSH_PREPARE_TRANSFERS_BURST_COUNT" default:"10000" validate:"gte=1"`
	FinalizeTransfer  int `env:"APP_FLUSH_FINALIZE_TRANSFERS_BURST_COUNT" default:"10000" validate:"gte=1"`
	FetchDebtorInfo   int `env:"APP_FLUSH_FETCH_DEBTOR_INFO_BURST_COUNT" default:"10000" validate:"gte=1"`
	StoreDocument     int `env:"APP_FLUSH_STORE_DOCUMENT_BURST_COUNT" default:"10000" validate:"gte=1"`
	DiscoverDebtor    int `env:"APP_FLUSH_DISCOVER_DEBTOR_BURST_COUNT" default:"10000" validate:"gte=1"`
	ConfirmDebtor     int `env:"APP_FLUSH_CONFIRM_DEBTOR_BURST_COUNT" default:"10000" validate:"gte=1"`
	ActivateCollector int `env:"APP_FLUSH_ACTIVATE_COLLECTOR_BURST_COUNT" default:"10000" validate:"gte=1"`
	CandidateOffer    int `env:"APP_FLUSH_CANDIDATE_OFFER_BURST_COUNT" default:"10000" validate:"gte=1"`
	NeededCollector   int `env:"APP_FLUSH_NEEDED_COLLECTOR_BURST_COUNT" default:"10000" validate:"gte=1"`
	ReviseAccountLock int `env:"APP_FLUSH_REVISE_ACCOUNT_LOCK_BURST_COUNT" default:"10000" validate:"gte=1"`
	TriggerTransfer   int `env:"APP_FLUSH_TRIGGER_TRANSFER_BURST_COUNT" default:"10000" validate:"gte=1"`
	AccountIDRequest  int `env:"APP_ACCOUNT_ID_REQUEST_BURST_COUNT" default:"10000" validate:"gte=1"`
	AccountIDResponse int `env:"APP_ACCOUNT_ID_RESPONSE_BURST_COUNT" default:"10000" validate:"gte=1"`
	StartSending      int `env:"APP_START_SENDING_BURST_COUNT" default:"10000" validate:"gte=1"`
	StartDispatching  int `env:"APP_START_DISPATCHING_BURST_COUNT" default:"10000" validate:"gte=1"`
}

// defaultBurst is for types of messages that have no variable.
const defaultBurst = 10000

// Of returns how many records of a type of messages are published in one transaction, at most. Types without a variable
// of their own have 10000.
func (b Bursts) Of(messageType string) int {
	for field, value := range reflect.ValueOf(b).Fields() {
		if value.CanInt() && publishedType(field) == messageType {
			return int(value.Int())
		}
	}
	return defaultBurst
}

func (b Bursts) uses(field reflect.StructField) bool {
	return b.MessageTypes == nil || slices.Contains(b.MessageTypes, publishedType(field))
}

// publishedType returns the message type that a field is named after, in the spelling that goes over the wire.
func publishedType(field reflect.StructField) string {
	return strings.ReplaceAll(field.Name, "ID", "Id")
}
