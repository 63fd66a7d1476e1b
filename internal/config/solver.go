package config

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Turns is the schedule of the solver.
type Turns struct {
	// Time from the start of a turn to the start of the next one. 0: no turn is ever started.
	Period time.Duration `env:"TURN_PERIOD" default:"1d"`
	// When in the period a turn starts, counted from 2024-01-01T00:00:00Z, a Monday. With a period of 1w, 26h is every
	// Tuesday at two in the morning, UTC.
	PeriodOffset time.Duration `env:"TURN_PERIOD_OFFSET" default:"2h"`
	// Time for the workers to report their currencies.
	Phase1Duration time.Duration `env:"TURN_PHASE1_DURATION" default:"10m"`
	// Time for the workers to make offers.
	Phase2Duration time.Duration `env:"TURN_PHASE2_DURATION" default:"1h"`
	// How often the solver looks whether a turn can start or advance, from start to start.
	CheckInterval time.Duration `env:"TURN_CHECK_INTERVAL" default:"60s"`
}

// BaseCurrency is the currency at the root of all pegs.
type BaseCurrency struct {
	// Where the base currency's debtor info document is, such as https://example.com/USD. Required. Empty: no currency
	// has a price, and nothing is traded.
	Locator string `env:"BASE_DEBTOR_INFO_LOCATOR" required:"the base currency is not configured"`
	// ID of the base currency, not 0. Required.
	DebtorID swpt.DebtorID `env:"BASE_DEBTOR_ID" required:"the base currency is not configured" validate:"ne=0"`
}

// Clearing is about the solver's main task.
type Clearing struct {
	// Smallest amount that is arranged for a trade, in tokens; at least 10.
	MinTradeAmount int64 `env:"MIN_TRADE_AMOUNT" default:"1000"`
	// Transfers that one collector account should make per turn. Has no effect yet: currencies get more collector accounts
	// only when the admin API is asked for them.
	CollectorLimit int64 `env:"TRANSFERS_COLLECTOR_LIMIT" default:"100000" validate:"gte=1"`
	// PostgreSQL's work_mem in the transactions that sort very many rows, at the beginning of phases 2 and 3.
	WorkMem MemorySize `env:"SOLVER_INCREASED_WORK_MEM" default:"50MB"`
}
