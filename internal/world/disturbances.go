package world

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/circular-trade/circular-trade/internal/world/authority"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// disturb begins everything that makes a world restless: faults of the network, freedoms of authorities, and what
// customers and issuers do by themselves.
func (s *simulation) disturb() {
	if s.disturbed {
		return
	}
	s.disturbed, s.settled = true, false
	s.network = s.profile.Network
	for _, h := range s.hosts {
		h.SetFreedoms(s.profile.Freedoms)
	}
	s.every(s.profile.Payments, s.payAtRandom)
	s.every(s.profile.RateChanges, s.changeRateAtRandom)
	s.every(s.profile.Revisions, s.reviseAtRandom)
	s.every(s.profile.Absences, s.leaveAtRandom)
}

// calm ends what disturb has begun.
func (s *simulation) calm() {
	s.disturbed = false
	s.network = s.profile.Network.quiet()
	for _, l := range s.links {
		l.mend()
	}
	for _, h := range s.hosts {
		h.SetFreedoms(authority.Freedoms{})
	}
	held := slices.SortedFunc(maps.Keys(s.held), func(a, b notificationKey) int {
		return cmp.Or(
			cmp.Compare(a.account.Debtor, b.account.Debtor), cmp.Compare(a.account.Creditor, b.account.Creditor),
			cmp.Compare(a.typeName, b.typeName),
		)
	})
	for _, key := range held {
		s.release(key)
	}
}

// every has something done so often a second, on average, as long as the world is disturbed.
func (s *simulation) every(perSecond float64, do func()) {
	if perSecond <= 0 {
		return
	}
	s.timeline.After(untilNext(s.random, perSecond), func() {
		if s.disturbed {
			do()
			s.every(perSecond, do)
		}
	})
}

// currencyAtRandom returns a currency that is issued.
func (s *simulation) currencyAtRandom() *Currency {
	all := s.scenario.Currencies
	for {
		if c := &all[s.random.IntN(len(all))]; !c.Dummy {
			return c
		}
	}
}

// holderAtRandom returns an account of a customer.
func (s *simulation) holderAtRandom(c *Currency) (journal.Account, bool) {
	holders := s.holders[c.Debtor]
	if len(holders) == 0 {
		return journal.Account{}, false
	}
	return holders[s.random.IntN(len(holders))], true
}

// payAtRandom has a customer pay another one a small part of what there is.
func (s *simulation) payAtRandom() {
	if len(s.hosts) == 0 {
		return
	}
	c := s.currencyAtRandom()
	from, found := s.holderAtRandom(c)
	to, _ := s.holderAtRandom(c)
	payer, payee := s.agent.Account(from), s.agent.Account(to)
	const smallPart = 20
	if !found || from == to || payee.AccountID == "" || payer.Principal < smallPart {
		return
	}
	s.agent.Pay(from, payee.AccountID, 1+s.random.Int64N(payer.Principal/smallPart))
}

func (s *simulation) changeRateAtRandom() {
	if len(s.hosts) > 0 {
		c := s.currencyAtRandom()
		s.configureRoot(c.Debtor, s.openingRate(c))
	}
}

func (s *simulation) reviseAtRandom() {
	if len(s.hosts) > 0 {
		s.revise(s.issuers.currency(s.currencyAtRandom().Debtor))
	}
}

// revise makes the issuer write a new document, which says what the currency is like now.
func (s *simulation) revise(c Currency) {
	s.issuers.write(&c)
	s.configureRoot(c.Debtor, s.issuers.rate(c.Debtor))
}

// longestAbsence is how long a customer is away, at most.
const longestAbsence = 10 * time.Second

// leaveAtRandom has a customer delete an account, without waiting for the authority, and open it again some time later.
// What was on it may be lost.
func (s *simulation) leaveAtRandom() {
	if len(s.hosts) == 0 {
		return
	}
	key, found := s.holderAtRandom(s.currencyAtRandom())
	before := s.agent.Account(key)
	if !found || !before.Known {
		return
	}
	s.agent.Delete(key)
	absence := time.Duration(s.random.Int64N(int64(longestAbsence))).Truncate(time.Microsecond)
	s.timeline.After(absence, func() {
		s.agent.Open(key)
		s.agent.SetPolicy(key, before.Policy)
	})
}
