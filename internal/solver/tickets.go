package solver

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A ticket stands for an offer while offers are sorted by trader.
type ticket struct {
	key      uint64 // scrambled creditor ID
	amount   int64
	offer    int32 // sell offers first, buy offers behind them
	currency int32 // rank
}

// scramble is a bijection of 64-bit numbers (the finalizer of SplitMix64). It makes the order of traders, which decides
// ties, depend on the seed alone: nobody profits turn by turn from a low ID.
func scramble(id, seed uint64) uint64 {
	x := id + seed*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sortTickets brings the offers of each trader together: sell offers first, popular currencies first.
func (m *Market) sortTickets(ctx context.Context, seed uint64, rank []int32) ([]ticket, error) {
	const (
		bits    = 12
		buckets = 1 << bits
		chunks  = 16
	)
	sides := []*offerColumns{&m.sells, &m.buys}
	var starts [buckets + 1]int32
	for _, side := range sides {
		for _, creditor := range side.creditor {
			starts[key(creditor, seed)>>(64-bits)+1]++
		}
	}
	for i := range buckets {
		starts[i+1] += starts[i]
	}
	tickets := make([]ticket, starts[buckets])
	next, offer := starts, int32(0)
	for _, side := range sides {
		for i, creditor := range side.creditor {
			k := key(creditor, seed)
			tickets[next[k>>(64-bits)]] = ticket{k, side.amount[i], offer, rank[side.currency[i]]}
			next[k>>(64-bits)]++
			offer++
		}
	}
	sells := int32(m.sells.len())
	compare := func(a, b ticket) int {
		switch {
		case a.key != b.key:
			return cmp.Compare(a.key, b.key)
		case a.offer < sells != (b.offer < sells):
			return cmp.Compare(a.offer, b.offer)
		default:
			return cmp.Compare(a.currency, b.currency)
		}
	}
	workers, ctx := errgroup.WithContext(ctx)
	for chunk := range chunks {
		workers.Go(func() error {
			for i := buckets / chunks * chunk; i < buckets/chunks*(chunk+1); i++ {
				slices.SortFunc(tickets[starts[i]:starts[i+1]], compare)
			}
			return ctx.Err()
		})
	}
	return tickets, workers.Wait()
}

func key(creditor swpt.CreditorID, seed uint64) uint64 {
	return scramble(uint64(creditor), seed)
}
