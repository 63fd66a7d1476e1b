package world

import (
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/world/authority"
)

// In storms, authorities are all that they may be, and the seed decides what they are.
func TestStormsDiffer(t *testing.T) {
	t.Parallel()
	const storms = 30
	var opaque, random, double, early, small int
	existence := map[authority.Existence]int{}
	for seed := range uint64(storms) {
		p := Storm(seed)
		existence[p.Freedoms.Recipients]++
		for i, traits := range p.Traits {
			if traits != Storm(seed).Traits[i] {
				t.Fatalf("the same seed leads to %+v, and to %+v", traits, Storm(seed).Traits[i])
			}
			if traits.NumberStep < 1 || traits.NumberStep > 1<<40 || traits.ClockSkew.Abs() > time.Second {
				t.Errorf("an authority is like %+v", traits)
			}
			for count, is := range map[*int]bool{
				&opaque: traits.OpaqueAccountIDs, &random: traits.RandomIDs, &double: traits.DoublePrecision,
				&early: traits.ClockSkew < 0, &small: traits.NumberStep < 1<<20,
			} {
				if is {
					*count++
				}
			}
		}
	}
	const all, few = storms * authorities, storms * authorities / 6
	for name, count := range map[string]int{
		"have opaque account IDs": opaque, "have random IDs": random, "have double precision": double,
		"are behind": early, "have small steps": small,
	} {
		if count < few || count > all-few {
			t.Errorf("%d of %d authorities %s", count, all, name)
		}
	}
	var atWorst, others authority.Terms // counts
	for seed := range uint64(storms) {
		for i, terms := range Storm(seed).Terms {
			if terms != Storm(seed).Terms[i] {
				t.Fatalf("the same seed leads to %+v, and to %+v", terms, Storm(seed).Terms[i])
			}
			const days = 24 * time.Hour
			if terms.DemurrageRate < -50 || terms.DemurrageRate > 0 || terms.CommitPeriod < 30*days ||
				terms.CommitPeriod > 180*days || terms.CommitPeriod%time.Second != 0 ||
				terms.TransferNoteMaxBytes < 80 || terms.TransferNoteMaxBytes > 500 {
				t.Errorf("an authority has the terms %+v", terms)
			}
			countTerms(&atWorst, terms.DemurrageRate == -50, terms.CommitPeriod == 30*days, terms.TransferNoteMaxBytes == 80)
			countTerms(&others, terms.DemurrageRate > -40, terms.CommitPeriod > 60*days, terms.TransferNoteMaxBytes > 150)
		}
	}
	for _, n := range []authority.Terms{atWorst, others} {
		if n.DemurrageRate < few || n.CommitPeriod < few || n.TransferNoteMaxBytes < few {
			t.Errorf("of %d authorities, %+v have the terms that are the worst for locks, and %+v far better ones", all, atWorst, others)
		}
	}
	if len(existence) != 3 {
		t.Errorf("recipients are looked for so often: %v", existence)
	}
}

// countTerms counts authorities by their terms.
func countTerms(n *authority.Terms, rate, period, bytes bool) {
	if rate {
		n.DemurrageRate++
	}
	if period {
		n.CommitPeriod++
	}
	if bytes {
		n.TransferNoteMaxBytes++
	}
}
