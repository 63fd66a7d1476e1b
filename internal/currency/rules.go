package currency

import (
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/inbox"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Rules are what is done with messages about currencies, and with fetches.
type Rules struct {
	// Realm is the part of all IRIs that this worker fetches.
	Realm shard.Realm

	// DocumentExpiry is how long a document is good for, unless it has promised not to change.
	DocumentExpiry time.Duration
	// ClaimExpiry is how long a debtor's claim, or a document, is kept that nobody renews. It is at least five times as
	// long as DocumentExpiry.
	ClaimExpiry time.Duration
	// MaxMessageDelay is the age from which on a message is hopelessly late. Only messages need it.
	MaxMessageDelay time.Duration

	// MaxDistanceToBase is how many pegs in a row are followed. Only fetches need it.
	MaxDistanceToBase int

	Logger *slog.Logger
}

// renewalMargin is added to expiries when claims are renewed. A claim is stamped when a fetch is asked for, a document
// when it has been fetched, a little later. Without the margin, the next renewal would find the document not quite
// expired.
const renewalMargin = time.Hour

// maxIRIBytes is the length of the longest text that fits in an index for sure.
const maxIRIBytes = 2000

// AddTo adds the rules for DiscoverDebtor, ConfirmDebtor, StoreDocument, and FetchDebtorInfo.
func (r *Rules) AddTo(rules *inbox.Rules) {
	inbox.Add(rules, r.HandleDiscoverDebtors)
	inbox.Add(rules, r.HandleConfirmDebtors)
	inbox.Add(rules, r.HandleStoreDocuments)
	inbox.Add(rules, r.HandleFetchDebtorInfos)
}

// Expired reports whether a document has to be fetched again. One that has promised not to change is good for longer,
// but must be fetched again well before it is forgotten.
func (r *Rules) Expired(d *workerdb.DebtorInfoDocument, now time.Time) bool {
	frozen := d.WillNotChangeUntil != nil && d.WillNotChangeUntil.After(now)
	if frozen {
		return now.Sub(d.FetchedAt) > r.frozenExpiry()
	}
	return now.Sub(d.FetchedAt) > r.DocumentExpiry
}

// frozenExpiry is how long a document is good for that has promised not to change.
func (r *Rules) frozenExpiry() time.Duration { return r.ClaimExpiry - 2*r.DocumentExpiry }

// longAgo reports whether an instant lies so far back that what happened then has to be renewed.
func longAgo(instant, now time.Time, expiry time.Duration) bool {
	return now.Sub(instant) > expiry+renewalMargin
}
