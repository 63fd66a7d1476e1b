package diagnosis

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// Base is the currency at the root of all pegs.
type Base struct {
	Locator     string
	DebtorID    swpt.DebtorID
	MaxDistance int // longest chain of pegs that leads there
}

// Knowledge is what is known about currencies, where, and when.
type Knowledge struct {
	Now time.Time

	// Base is nil if nobody knows it.
	Base *Base
	// Realm is the part of all debtors and locators about which the worker knows everything. Nil: no worker has been
	// asked.
	Realm *shard.Realm

	Documents  map[string]Document // by locator
	Claims     map[swpt.DebtorID]Claim
	Fetches    map[string][]Fetch // by the IRI that they are for
	Collectors map[swpt.DebtorID]Collectors

	// Expired reports whether a document has to be fetched again.
	Expired func(*Document) bool
}

// A Document is what a page says that names itself as its locator.
type Document struct {
	DebtorID           swpt.DebtorID
	Peg                *Peg
	FetchedAt          *time.Time // nil: unknown, it comes from the solver's database
	WillNotChangeUntil *time.Time
}

// A Peg ties a currency to another one.
type Peg struct {
	Locator  string
	DebtorID swpt.DebtorID
	Rate     float64
}

// A Claim says which locator a debtor names for itself.
type Claim struct {
	Locator           *string   // nil: none so far
	LatestDiscoveryAt time.Time // when the page that an account names was asked for; zero: unknown
}

// A Fetch is in the queue.
type Fetch struct {
	DebtorID      swpt.DebtorID
	IsDiscovery   bool
	Attempts      int
	LatestStatus  *int16 // of the latest attempt, if the server had one
	NextAttemptAt time.Time
}

// Collectors are how many collectors a debtor has.
type Collectors struct {
	Active, Requested int64
}
