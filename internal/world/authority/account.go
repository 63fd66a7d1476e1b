package authority

import (
	"strconv"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// rootID is the creditor ID of the account that all tokens of a currency come from.
const rootID = journal.Root

// epoch is what instants are before anything has happened.
var epoch = time.Unix(0, 0).UTC()

// An account of a creditor (peers.md, section 8.1).
type account struct {
	key     journal.Account
	created smp.Date
	named   bool // it has got its account ID
	closed  bool // it is marked as deleted
	gone    bool // it has been purged

	holding     journal.Holding // its At is last_change_ts
	formerRate  float64         // in force before the latest change
	changes     int32           // last_change_seqnum
	info        Info
	config      config
	number      int64 // of the latest AccountTransfer
	committedAt time.Time

	lastTransferID int64
	locked         int64
	locks          map[int64]*lock // by transfer ID
	oldest, newest *lock

	due           bool // an AccountUpdate has to be sent
	updatedAt     time.Time
	capitalisedAt time.Time
	deletionTried time.Time
	closedAt      time.Time
	lag           float64 // from 0 to 1: how late new values reach the account
}

// A config is what the owner of an account has set.
type config struct {
	ts         time.Time
	seqnum     int32
	flags      int32
	negligible float64
	data       string
}

// scheduledForDeletion is the one flag that means something.
const scheduledForDeletion = 1

func (c *config) scheduled() bool { return c.flags&scheduledForDeletion != 0 }

// A lock is a prepared transfer. Collectors have many, which are kept in the order of preparation.
type lock struct {
	message      smp.PreparedTransfer
	remindedAt   time.Time
	older, newer *lock
}

func (acc *account) addLock(l *lock) {
	if acc.locks == nil {
		acc.locks = make(map[int64]*lock)
	}
	acc.locks[l.message.TransferID] = l
	acc.locked += l.message.LockedAmount
	if l.older = acc.newest; l.older != nil {
		l.older.newer = l
	} else {
		acc.oldest = l
	}
	acc.newest = l
}

func (acc *account) removeLock(l *lock) {
	delete(acc.locks, l.message.TransferID)
	acc.locked -= l.message.LockedAmount
	if l.older != nil {
		l.older.newer = l.newer
	} else {
		acc.oldest = l.newer
	}
	if l.newer != nil {
		l.newer.older = l.older
	} else {
		acc.newest = l.older
	}
}

func (a *Authority) find(debtor swpt.DebtorID, creditor swpt.CreditorID) *account {
	return a.accounts[journal.Account{Debtor: debtor, Creditor: creditor}]
}

// open creates the record of an account.
func (a *Authority) open(key journal.Account) *account {
	acc := &account{
		key:           key,
		created:       smp.DateOf(a.now),
		named:         !a.chance(a.settings.Freedoms.UnnamedAtFirst) || key.Creditor == rootID,
		holding:       journal.Holding{RateSince: epoch, At: epoch},
		config:        config{ts: epoch},
		committedAt:   epoch,
		updatedAt:     a.now,
		capitalisedAt: a.now.Add(-a.upTo(a.settings.Timing.Capitalisation)),
		lag:           a.random.Float64(),
	}
	if last, found := a.dates[key]; found && acc.created <= last {
		acc.created = last + 1
	}
	a.accounts[key] = acc
	a.order = append(a.order, acc)
	a.record(journal.Entry{Kind: journal.Opened, Account: key, Created: acc.created})
	return acc
}

// revive makes a deleted account one that is not.
func (a *Authority) revive(acc *account) {
	acc.closed = false
	a.record(journal.Entry{Kind: journal.Revived, Account: acc.key})
}

// change takes note that the state of an account changes: interest is settled up to now.
func (a *Authority) change(acc *account) {
	acc.holding.Interest = acc.holding.Accrued(a.now)
	if acc.key.Creditor == rootID {
		acc.holding.Interest = 0
	}
	if a.now.After(acc.holding.At) {
		acc.holding.At = a.now
	}
	acc.changes = smp.NextSeqnum(acc.changes)
}

// spendable returns the balance, rounded down.
func (a *Authority) spendable(acc *account) int64 { return acc.holding.Spendable(a.now) }

// minimum returns the least balance that an account may have.
func (a *Authority) minimum(acc *account) int64 {
	if acc.key.Creditor != rootID {
		return 0
	}
	return -min(a.debtor(acc.key.Debtor).limit, floorAmount(acc.config.negligible))
}

// id returns the account ID, which is empty at first if the authority takes that freedom.
func (a *Authority) id(acc *account) string {
	if !acc.named {
		return ""
	}
	return a.accountID(acc.key.Creditor)
}

// opaquePrefix begins the account IDs of an authority that does not use numbers.
const opaquePrefix = "ac/count #~"

// accountID returns the account ID of a creditor.
func (a *Authority) accountID(creditor swpt.CreditorID) string {
	if a.settings.Traits.OpaqueAccountIDs && creditor != rootID {
		return opaquePrefix + strconv.FormatUint(^uint64(creditor), 36)
	}
	return strconv.FormatUint(uint64(creditor), 10)
}

// creditorOf returns the creditor to whom an account ID belongs.
func (a *Authority) creditorOf(accountID string) (swpt.CreditorID, bool) {
	if digits, opaque := strings.CutPrefix(accountID, opaquePrefix); opaque && a.settings.Traits.OpaqueAccountIDs {
		id, err := strconv.ParseUint(digits, 36, 64)
		return swpt.CreditorID(^id), err == nil
	}
	if accountID != "0" && a.settings.Traits.OpaqueAccountIDs {
		return 0, false
	}
	id, err := strconv.ParseUint(accountID, 10, 64)
	return swpt.CreditorID(id), err == nil
}

// announce sends an AccountUpdate at once, unless the authority takes the freedom not to.
func (a *Authority) announce(acc *account) {
	if a.chance(a.settings.Freedoms.SkipUpdate) {
		acc.due = true
		return
	}
	a.sendUpdate(acc, acc.holding.At)
}

// sendUpdate sends an AccountUpdate. Those of roots go elsewhere.
func (a *Authority) sendUpdate(acc *account, ts time.Time) {
	acc.due, acc.updatedAt = false, a.now
	a.send(&smp.AccountUpdate{
		DebtorID:                 acc.key.Debtor,
		CreditorID:               acc.key.Creditor,
		CreationDate:             acc.created,
		LastChangeTS:             acc.holding.At,
		LastChangeSeqnum:         acc.changes,
		Principal:                acc.holding.Principal,
		Interest:                 acc.holding.Interest,
		InterestRate:             acc.holding.Rate,
		LastInterestRateChangeTS: acc.holding.RateSince,
		LastConfigTS:             acc.config.ts,
		LastConfigSeqnum:         acc.config.seqnum,
		NegligibleAmount:         acc.config.negligible,
		ConfigFlags:              acc.config.flags,
		ConfigData:               acc.config.data,
		AccountID:                a.id(acc),
		DebtorInfoIRI:            acc.info.IRI,
		DebtorInfoContentType:    acc.info.ContentType,
		DebtorInfoSHA256:         acc.info.SHA256,
		LastTransferNumber:       acc.number,
		LastTransferCommittedAt:  acc.committedAt,
		DemurrageRate:            a.settings.DemurrageRate,
		CommitPeriod:             int32(a.settings.CommitPeriod / time.Second),
		TransferNoteMaxBytes:     a.settings.TransferNoteMaxBytes,
		TTL:                      int32(a.settings.TTL / time.Second),
		TS:                       ts,
	})
}
