package collector

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/interest"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// Settings are what the rules need to know.
type Settings struct {
	Pool Pool // the IDs of collectors

	// Currencies whose accounts do not fulfil these conditions are not traded.
	MinDemurrageRate float64       // percent per year, -50 for example
	MinCommitPeriod  time.Duration // for which a prepared transfer can be committed
	MinNoteBytes     int           // in a transfer note

	RateHistoryPeriod time.Duration // for which the interest rates of accounts are remembered, at least
}

// legible reports whether a currency can be traded, as far as the accounting authority is concerned.
func (s *Settings) legible(m *smp.AccountUpdate) bool {
	return m.DemurrageRate >= s.MinDemurrageRate &&
		time.Duration(m.CommitPeriod)*time.Second >= s.MinCommitPeriod &&
		int(m.TransferNoteMaxBytes) >= s.MinNoteBytes
}

// An account is what is known of an account while updates are applied to it.
type account struct {
	needed  bool                    // this worker has asked for it
	record  *workerdb.WorkerAccount // as stored; nil if there is none. What it points to is not changed
	history []interest.Change       // of its interest rate; empty unless the account is needed

	// All interest rates in the updates are in the history already, so that has not been read.
	ratesKnown bool

	// Transfers depend on the interest rates since then; zero if there are none, or if it does not matter.
	dependedSince time.Time
}

// apply applies an update, and returns what is to be sent: ConfigureAccount, ActivateCollector, DiscoverDebtor.
func (a *account) apply(m *smp.AccountUpdate, s *Settings, now time.Time) []smp.Outgoing {
	if a.needed && !a.ratesKnown {
		a.noteRate(m, s, now)
	}
	if now.Sub(m.TS) > time.Duration(m.TTL)*time.Second {
		return nil
	}
	key := accountKey{m.CreditorID, m.DebtorID}
	if !a.needed && s.Pool.Contains(m.CreditorID) && !isDiscarded(m) {
		return append([]smp.Outgoing{discardAccount(key, now)}, a.follow(m, s, now)...)
	}
	return a.follow(m, s, now)
}

// noteRate adds the interest rate to the history. This matters even if the update comes too late for everything else.
func (a *account) noteRate(m *smp.AccountUpdate, s *Settings, now time.Time) {
	longer, isNew := interest.Record(a.history, interest.Change{At: m.LastInterestRateChangeTS, Rate: m.InterestRate})
	if isNew {
		a.history = interest.Compact(longer, now, s.RateHistoryPeriod, a.dependedSince)
	}
}

// follow brings the record of the account up to date.
func (a *account) follow(m *smp.AccountUpdate, s *Settings, now time.Time) []smp.Outgoing {
	before := a.record
	if before == nil {
		if !a.needed {
			return nil
		}
		a.record = newRecord(m, m.AccountID, earlier(m.TS, now))
		return a.tell(m, s, m.AccountID != "", true, now)
	}
	heartbeat := before.LastHeartbeatTs
	if m.TS.After(heartbeat) {
		heartbeat = earlier(m.TS, now)
	}
	known, coming := version(before), m.Version()
	switch {
	case coming.IsLaterThan(known):
		isAnother := coming.CreationDate > known.CreationDate // with the same IDs
		id := before.AccountID
		if id == "" || isAnother {
			id = m.AccountID
		}
		a.record = newRecord(m, id, heartbeat)
		return a.tell(m, s, id != "" && id != before.AccountID, orEmpty(before.DebtorInfoIri) != m.DebtorInfoIRI, now)
	case !heartbeat.Equal(before.LastHeartbeatTs):
		a.record = new(*before)
		a.record.LastHeartbeatTs = heartbeat
	}
	if isSame(coming, known) {
		// Nothing else keeps alive what is known of a currency that is not traded.
		return a.tell(m, s, false, false, now)
	}
	return nil
}

// tell returns what others have to know: that the collector has another account ID, and where the debtor is described.
func (a *account) tell(m *smp.AccountUpdate, s *Settings, activate, refetch bool, now time.Time) (messages []smp.Outgoing) {
	if activate {
		messages = append(messages, &smp.ActivateCollector{
			DebtorID: m.DebtorID, CreditorID: m.CreditorID, AccountID: m.AccountID, TS: now,
		})
	}
	if a.needed && s.legible(m) && m.AccountID != "" && m.DebtorInfoIRI != "" {
		messages = append(messages, &smp.DiscoverDebtor{
			DebtorID: m.DebtorID, IRI: m.DebtorInfoIRI, ForceLocatorRefetch: refetch, TS: now,
		})
	}
	return messages
}

func newRecord(m *smp.AccountUpdate, accountID string, heartbeat time.Time) *workerdb.WorkerAccount {
	record := &workerdb.WorkerAccount{
		CreditorID:               m.CreditorID,
		DebtorID:                 m.DebtorID,
		CreationDate:             m.CreationDate.Time(),
		LastChangeTs:             m.LastChangeTS,
		LastChangeSeqnum:         m.LastChangeSeqnum,
		Principal:                m.Principal,
		Interest:                 m.Interest,
		InterestRate:             m.InterestRate,
		LastInterestRateChangeTs: m.LastInterestRateChangeTS,
		ConfigFlags:              m.ConfigFlags,
		AccountID:                accountID,
		LastTransferNumber:       m.LastTransferNumber,
		LastTransferCommittedAt:  m.LastTransferCommittedAt,
		DemurrageRate:            m.DemurrageRate,
		CommitPeriod:             m.CommitPeriod,
		TransferNoteMaxBytes:     m.TransferNoteMaxBytes,
		LastHeartbeatTs:          heartbeat,
	}
	if m.DebtorInfoIRI != "" {
		record.DebtorInfoIri = &m.DebtorInfoIRI
	}
	return record
}

// version returns the place of the latest update in the history of the account.
func version(record *workerdb.WorkerAccount) smp.AccountVersion {
	return smp.AccountVersion{
		CreationDate:     smp.DateOf(record.CreationDate),
		LastChangeTS:     record.LastChangeTs,
		LastChangeSeqnum: record.LastChangeSeqnum,
	}
}

// isSame reports whether two updates are the same, except for when they were sent.
func isSame(a, b smp.AccountVersion) bool {
	return a.CreationDate == b.CreationDate && a.LastChangeTS.Equal(b.LastChangeTS) && a.LastChangeSeqnum == b.LastChangeSeqnum
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
