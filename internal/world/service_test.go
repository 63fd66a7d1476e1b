package world

import (
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// theCollector is the creditor ID of all collectors of the fake service.
const theCollector swpt.CreditorID = 0x10000000005

var endOfTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// A fakeService does what the real one does in the end, in the simplest way: it takes tokens from a seller, and gives
// them to a buyer, by way of a collector. It stands repetitions, delays, and failures that pass.
type fakeService struct {
	send func(smp.Outgoing)
	now  func() time.Time

	collectors map[swpt.DebtorID]*smp.AccountUpdate
	ledgers    map[journal.Account]*smp.UpdatedLedger
	policies   map[journal.Account]*smp.UpdatedPolicy
	deals      []*fakeDeal
	requests   map[int64]*fakeRequest
	heard      map[string]int
}

// A fakeDeal is a seller who gives to a buyer.
type fakeDeal struct {
	turn          int32
	debtor        swpt.DebtorID
	seller, buyer swpt.CreditorID
	amount        int64
	lock          *fakeRequest // of the buyer
	sale          *fakeRequest // nil as long as the buyer's account is not locked
	collected     bool
	paid          bool
	paying        *fakeRequest
}

// A fakeRequest is a PrepareTransfer.
type fakeRequest struct {
	deal       *fakeDeal
	message    *smp.PrepareTransfer
	isPayment  bool // to the buyer
	prepared   *smp.PreparedTransfer
	commit     *smp.FinalizeTransfer
	over       bool
	successful bool
}

func newFakeService(send func(smp.Outgoing), now func() time.Time) *fakeService {
	return &fakeService{
		send: send, now: now,
		collectors: make(map[swpt.DebtorID]*smp.AccountUpdate),
		ledgers:    make(map[journal.Account]*smp.UpdatedLedger),
		policies:   make(map[journal.Account]*smp.UpdatedPolicy),
		requests:   make(map[int64]*fakeRequest),
		heard:      make(map[string]int),
	}
}

// openCollector asks for a collector account.
func (f *fakeService) openCollector(debtor swpt.DebtorID) {
	f.send(&smp.ConfigureAccount{DebtorID: debtor, CreditorID: theCollector, TS: f.now(), NegligibleAmount: 1e30})
}

// sell begins a deal: it locks the buyer's account, and then what is for sale.
func (f *fakeService) sell(debtor swpt.DebtorID, seller, buyer swpt.CreditorID, amount int64) *fakeDeal {
	d := &fakeDeal{turn: int32(len(f.deals) + 1), debtor: debtor, seller: seller, buyer: buyer, amount: amount}
	f.deals = append(f.deals, d)
	d.lock = f.askCustomer(d, buyer, 0, 0)
	return d
}

func (f *fakeService) askCustomer(d *fakeDeal, customer swpt.CreditorID, least, most int64) *fakeRequest {
	r := &fakeRequest{deal: d, message: &smp.PrepareTransfer{
		CreditorID: customer, DebtorID: d.debtor, MinLockedAmount: least, MaxLockedAmount: most,
		Recipient: f.collectors[d.debtor].AccountID, FinalInterestRateTS: endOfTime, MaxCommitDelay: 1<<31 - 1,
	}}
	f.ask(r)
	return r
}

// release ends the lock of the buyer.
func (f *fakeService) release(d *fakeDeal) {
	d.lock.over = true
	if d.lock.prepared != nil {
		f.finalize(d.lock.prepared, &smp.FinalizeTransfer{})
	}
}

// endTurns gives up the deals of which no seller has been charged.
func (f *fakeService) endTurns() {
	for _, d := range f.deals {
		if d.sale == nil || d.sale.commit == nil {
			f.release(d)
			if d.sale != nil {
				d.sale.over = true
			}
		}
	}
}

// pay tries to give the buyer what has been collected.
func (f *fakeService) pay(d *fakeDeal) {
	buyer := f.ledgers[journal.Account{Debtor: d.debtor, Creditor: d.buyer}]
	d.paying = &fakeRequest{deal: d, isPayment: true, message: &smp.PrepareTransfer{
		CreditorID: theCollector, DebtorID: d.debtor, Recipient: buyer.AccountID,
		FinalInterestRateTS: f.collectors[d.debtor].LastInterestRateChangeTS.Add(2 * time.Second), MaxCommitDelay: 3600,
	}}
	f.ask(d.paying)
}

func (f *fakeService) ask(r *fakeRequest) {
	m := r.message
	m.CoordinatorType, m.CoordinatorID, m.TS = smp.CoordinatorAgent, int64(m.CreditorID), f.now()
	m.CoordinatorRequestID = int64(len(f.requests) + 1)
	f.requests[m.CoordinatorRequestID] = r
	f.send(m)
}

// hear takes what peers say.
func (f *fakeService) hear(m smp.Message) {
	f.heard[m.Type()]++
	switch m := m.(type) {
	case *smp.AccountUpdate:
		if last := f.collectors[m.DebtorID]; last == nil || m.Version().IsLaterThan(last.Version()) {
			f.collectors[m.DebtorID] = m
		}
	case *smp.UpdatedLedger:
		key := journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}
		if last := f.ledgers[key]; last == nil || m.UpdateID > last.UpdateID {
			f.ledgers[key] = m
		}
	case *smp.UpdatedPolicy:
		f.policies[journal.Account{Debtor: m.DebtorID, Creditor: m.CreditorID}] = m
	case *smp.PreparedTransfer:
		f.prepared(m)
	case *smp.RejectedTransfer:
		f.failed(f.requests[m.CoordinatorRequestID])
	case *smp.FinalizedTransfer:
		f.finalized(m)
	case *smp.AccountTransfer:
		f.transferred(m)
	}
}

func (f *fakeService) prepared(m *smp.PreparedTransfer) {
	r := f.requests[m.CoordinatorRequestID]
	if r.over || r.prepared != nil && r.prepared.TransferID != m.TransferID {
		f.finalize(m, &smp.FinalizeTransfer{})
		return
	}
	r.prepared = m
	if d := r.deal; r == d.lock {
		if d.sale == nil {
			d.sale = f.askCustomer(d, d.seller, d.amount, d.amount+d.amount/10)
		}
		return
	}
	if r.commit == nil {
		const cut = 100 // a hundredth stays with the collector
		amount := r.deal.amount
		note := smp.Note{Kind: smp.Collecting, TurnID: r.deal.turn, First: theCollector, Second: r.deal.seller}
		if r.isPayment {
			note = smp.Note{Kind: smp.Dispatching, TurnID: r.deal.turn, First: theCollector, Second: r.deal.buyer}
			amount -= amount / cut
		}
		r.commit = &smp.FinalizeTransfer{
			CommittedAmount: amount, TransferNoteFormat: smp.NoteFormat, TransferNote: note.String(),
		}
	}
	f.finalize(m, r.commit)
}

// finalize sends a message to end a transfer.
func (f *fakeService) finalize(p *smp.PreparedTransfer, how *smp.FinalizeTransfer) {
	m := *how
	m.CreditorID, m.DebtorID, m.TransferID = p.CreditorID, p.DebtorID, p.TransferID
	m.CoordinatorType, m.CoordinatorID, m.CoordinatorRequestID = p.CoordinatorType, p.CoordinatorID, p.CoordinatorRequestID
	m.TS = f.now()
	f.send(&m)
}

// failed gives up a request. A payment will be tried again.
func (f *fakeService) failed(r *fakeRequest) {
	if r.over || r.prepared != nil {
		return // prepared in another copy
	}
	f.giveUp(r)
}

func (f *fakeService) giveUp(r *fakeRequest) {
	r.over = true
	switch d := r.deal; r {
	case d.sale:
		f.release(d)
	case d.paying:
		d.paying = nil
	}
}

func (f *fakeService) finalized(m *smp.FinalizedTransfer) {
	r := f.requests[m.CoordinatorRequestID]
	if r.over || r.prepared == nil || r.prepared.TransferID != m.TransferID {
		return
	}
	if m.CommittedAmount == 0 {
		f.giveUp(r)
		return
	}
	r.over, r.successful = true, true
	if r.isPayment {
		r.deal.paid = true
		f.release(r.deal)
	}
}

// transferred notes what has been collected.
func (f *fakeService) transferred(m *smp.AccountTransfer) {
	note, err := m.TradeNote()
	if err == nil && note.Kind == smp.Collecting && m.AcquiredAmount > 0 {
		f.deals[note.TurnID-1].collected = true
	}
}

// goOn pays whoever can be paid.
func (f *fakeService) goOn() {
	for _, d := range f.deals {
		buyer := f.ledgers[journal.Account{Debtor: d.debtor, Creditor: d.buyer}]
		if d.collected && d.paying == nil && !d.paid && buyer != nil && buyer.AccountID != "" {
			f.pay(d)
		}
	}
}

// open tells which deals have begun, and have not come to an end.
func (f *fakeService) open() string {
	for _, d := range f.deals {
		if d.collected && !d.paid {
			return fmt.Sprintf("buyer %#x of deal %d is not paid: %+v", uint64(d.buyer), d.turn, d.paying)
		}
		if d.sale != nil && d.sale.commit != nil && !d.collected && (!d.sale.over || d.sale.successful) {
			return fmt.Sprintf("seller %#x of deal %d is not charged: %+v", uint64(d.seller), d.turn, d.sale)
		}
	}
	return ""
}
