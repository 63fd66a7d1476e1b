package config

import (
	"reflect"
	"strings"
	"time"
)

// Sweeps say how thoroughly old records are looked for, table by table.
type Sweeps struct {
	// Table narrows the settings to those of one table, such as "account_locks". It is given before loading; the
	// variables of the other tables are then not looked at. Empty: all tables.
	Table string

	DebtorInfoDocuments      Sweep `envPrefix:"APP_DEBTOR_INFO_DOCUMENTS_" days:"7"`
	DebtorLocatorClaims      Sweep `envPrefix:"APP_DEBTOR_LOCATOR_CLAIMS_" days:"1"`
	TradingPolicies          Sweep `envPrefix:"APP_TRADING_POLICIES_" days:"7"`
	WorkerAccounts           Sweep `envPrefix:"APP_WORKER_ACCOUNTS_" days:"7"`
	InterestRateChanges      Sweep `envPrefix:"APP_INTEREST_RATE_CHANGES_" days:"7"`
	NeededWorkerAccounts     Sweep `envPrefix:"APP_NEEDED_WORKER_ACCOUNTS_" days:"7"`
	RecentlyNeededCollectors Sweep `envPrefix:"APP_RECENTLY_NEEDED_COLLECTORS_" days:"7"`
	AccountLocks             Sweep `envPrefix:"APP_ACCOUNT_LOCKS_" days:"7"`
	CreditorParticipations   Sweep `envPrefix:"APP_CREDITOR_PARTICIPATIONS_" days:"7"`
	DispatchingStatuses      Sweep `envPrefix:"APP_DISPATCHING_STATUSES_" days:"7"`
	WorkerCollectings        Sweep `envPrefix:"APP_WORKER_COLLECTINGS_" days:"3"`
	WorkerSendings           Sweep `envPrefix:"APP_WORKER_SENDINGS_" days:"1"`
	WorkerReceivings         Sweep `envPrefix:"APP_WORKER_RECEIVINGS_" days:"1"`
	WorkerDispatchings       Sweep `envPrefix:"APP_WORKER_DISPATCHINGS_" days:"7"`
	TransferAttempts         Sweep `envPrefix:"APP_TRANSFER_ATTEMPTS_" days:"7"`
}

// A Sweep says how thoroughly old records are looked for in one table.
type Sweep struct {
	// Time in which the whole table is read once.
	Duration time.Duration `env:"SCAN_DAYS" unit:"d" validate:"gt=0"`
	// Database pages per query.
	BlocksPerQuery int `env:"SCAN_BLOCKS_PER_QUERY" default:"40" validate:"gte=1"`
	// Shortest time between two queries. If a pass would take too long with it, more pages are read at a time.
	Beat time.Duration `env:"SCAN_BEAT_MILLISECS" default:"100" unit:"ms" validate:"gte=1"`
}

// Tables lists the tables that are swept, in the words of the scan_ commands.
func (Sweeps) Tables() []string {
	var tables []string
	for field := range reflect.TypeFor[Sweeps]().Fields() {
		if table := sweptTable(field); table != "" {
			tables = append(tables, table)
		}
	}
	return tables
}

// Of returns the settings of one table, and whether there is such a table.
func (s Sweeps) Of(table string) (Sweep, bool) {
	for field, value := range reflect.ValueOf(s).Fields() {
		if sweep, ok := value.Interface().(Sweep); ok && sweptTable(field) == table {
			return sweep, true
		}
	}
	return Sweep{}, false
}

func (s Sweeps) uses(field reflect.StructField) bool {
	return s.Table == "" || s.Table == sweptTable(field)
}

func sweptTable(field reflect.StructField) string {
	name, _ := strings.CutPrefix(field.Tag.Get("envPrefix"), "APP_")
	return strings.ToLower(strings.TrimSuffix(name, "_"))
}
