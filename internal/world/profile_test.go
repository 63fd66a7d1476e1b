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
	if len(existence) != 3 {
		t.Errorf("recipients are looked for so often: %v", existence)
	}
}
