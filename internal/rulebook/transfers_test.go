package rulebook

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/lock"
	"github.com/circular-trade/circular-trade/internal/settlement"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

const (
	thisCollector  = swpt.CreditorID(0x10000000005)
	otherCollector = swpt.CreditorID(0x10000000006)
	customer       = swpt.CreditorID(0x101000000a1)
	turnID         = int32(7)
	debtor         = swpt.DebtorID(8001)
)

func noted(kind smp.NoteKind, first, second swpt.CreditorID) smp.Note {
	return smp.Note{Kind: kind, TurnID: turnID, First: first, Second: second}
}

func transferOn(creditor swpt.CreditorID, amount int64, note smp.Note) *smp.AccountTransfer {
	return &smp.AccountTransfer{
		CreditorID: creditor, DebtorID: debtor, CoordinatorType: coordinatorType, AcquiredAmount: amount,
		TransferNoteFormat: smp.NoteFormat, TransferNote: note.String(),
	}
}

// Each of the three movements has two sides, and each side is somebody else's business.
func TestTransfersAreSorted(t *testing.T) {
	t.Parallel()
	collecting := noted(smp.Collecting, thisCollector, customer)
	sending := noted(smp.Sending, thisCollector, otherCollector)
	dispatching := noted(smp.Dispatching, thisCollector, customer)
	moved := func(collector, other swpt.CreditorID, amount int64) []settlement.Transfer {
		record := settlement.Record{CollectorID: collector, TurnID: turnID, DebtorID: debtor, OtherID: other}
		return []settlement.Transfer{{Record: record, Amount: amount}}
	}
	paid, bought := transferOn(customer, -50, collecting), transferOn(customer, 40, dispatching)
	for name, c := range map[string]struct {
		transfer *smp.AccountTransfer
		want     movements
	}{
		"a seller has paid":            {paid, movements{paid: []lock.Payment{{Transfer: paid, Note: collecting}}}},
		"a collector has collected":    {transferOn(thisCollector, 50, collecting), movements{collected: moved(thisCollector, customer, 50)}},
		"a collector has sent":         {transferOn(thisCollector, -50, sending), movements{sent: moved(thisCollector, otherCollector, 0)}},
		"a collector has received":     {transferOn(otherCollector, 49, sending), movements{received: moved(otherCollector, thisCollector, 49)}},
		"a collector has dispatched":   {transferOn(thisCollector, -40, dispatching), movements{dispatched: moved(thisCollector, customer, 0)}},
		"a buyer has got their tokens": {bought, movements{bought: []lock.Payment{{Transfer: bought, Note: dispatching}}}},
	} {
		note, err := c.transfer.TradeNote()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got movements
		if got.add(c.transfer, note); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: sorted as %+v, want %+v", name, got, c.want)
		}
	}
}

// What is not about trades does not get as far as the database: there is none here.
func TestTransfersThatChangeNothing(t *testing.T) {
	t.Parallel()
	collecting := noted(smp.Collecting, thisCollector, customer)
	for name, c := range map[string]struct {
		change func(*smp.AccountTransfer)
		warns  bool
	}{
		"a customer's own payment": {func(m *smp.AccountTransfer) { m.CoordinatorType = "direct" }, false},
		"interest":                 {func(m *smp.AccountTransfer) { m.CoordinatorType = "interest" }, false},
		"another format":           {func(m *smp.AccountTransfer) { m.TransferNoteFormat = "" }, true},
		"a note that is cut off":   {func(m *smp.AccountTransfer) { m.TransferNote = m.TransferNote[:20] }, true},
		"somebody else's account":  {func(m *smp.AccountTransfer) { m.CreditorID = otherCollector }, true},
	} {
		var log bytes.Buffer
		b := book{logger: slog.New(slog.NewTextHandler(&log, nil))}
		transfer := transferOn(customer, -50, collecting)
		c.change(transfer)
		if err := b.handleAccountTransfers(t.Context(), nil, transfer.TS, []*smp.AccountTransfer{transfer}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if warned := strings.Contains(log.String(), "not clear"); warned != c.warns {
			t.Errorf("%s: warned is %v, want %v: %s", name, warned, c.warns, &log)
		}
	}
}
