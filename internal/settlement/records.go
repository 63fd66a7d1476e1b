package settlement

import (
	"cmp"
	"slices"

	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// A Record is the key of something that a collector has to do: to collect from a seller, to send to another collector,
// to receive from another collector, or to dispatch to a buyer.
type Record struct {
	CollectorID swpt.CreditorID // whose record this is
	TurnID      int32
	DebtorID    swpt.DebtorID
	OtherID     swpt.CreditorID // the seller, the other collector, or the buyer
}

// recordArrays are the keys of records, as queries take them.
type recordArrays struct {
	CollectorIDs []int64
	TurnIDs      []int32
	DebtorIDs    []int64
	CreditorIDs  []int64
}

func (a *recordArrays) add(r Record) {
	a.CollectorIDs = append(a.CollectorIDs, int64(r.CollectorID))
	a.TurnIDs = append(a.TurnIDs, r.TurnID)
	a.DebtorIDs = append(a.DebtorIDs, int64(r.DebtorID))
	a.CreditorIDs = append(a.CreditorIDs, int64(r.OtherID))
}

func arraysOf(records []Record) (a recordArrays) {
	for _, r := range records {
		a.add(r)
	}
	return a
}

// A status is the key of what a collector has to do with one currency in a turn.
type status struct {
	CollectorID swpt.CreditorID
	TurnID      int32
	DebtorID    swpt.DebtorID
}

func (s status) compare(other status) int {
	return cmp.Or(
		cmp.Compare(s.CollectorID, other.CollectorID),
		cmp.Compare(s.TurnID, other.TurnID),
		cmp.Compare(s.DebtorID, other.DebtorID))
}

// with returns the key of one thing that the collector has to do.
func (s status) with(other swpt.CreditorID) Record {
	return Record{s.CollectorID, s.TurnID, s.DebtorID, other}
}

// distinct returns the statuses that messages are about, each once, sorted.
func distinct[M any](messages []M, about func(M) status) []status {
	statuses := make([]status, len(messages))
	for i, m := range messages {
		statuses[i] = about(m)
	}
	slices.SortFunc(statuses, status.compare)
	return slices.Compact(statuses)
}

// queryable returns the keys of statuses as queries take them.
func queryable(statuses []status) (arrays workerdb.Statuses) {
	for _, s := range statuses {
		arrays.CollectorIDs = append(arrays.CollectorIDs, int64(s.CollectorID))
		arrays.TurnIDs = append(arrays.TurnIDs, s.TurnID)
		arrays.DebtorIDs = append(arrays.DebtorIDs, int64(s.DebtorID))
	}
	return arrays
}
