package settlement_test

import (
	"testing"

	"github.com/circular-trade/circular-trade/internal/settlement"
)

// M17: what comes after a sweep has deleted its record stays on the collector's account.
func TestLateTransfers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addStatus(t, hub, settlement.Amounts{ToCollect: 200, ToReceive: 100, ToDispatch: 300}, "")
	w.addCollecting(t, 1, 100)
	w.addCollecting(t, 2, 100)
	w.addReceiving(t, 1, 100)
	w.addDispatching(t, 1, 300)
	w.handle(t, settlement.HandleCollected, transfer(2, 100))
	w.exec(t, `DELETE FROM worker_collecting WHERE NOT collected; DELETE FROM worker_receiving`)
	w.handle(t, settlement.HandleCollected, transfer(1, 100))
	w.handle(t, settlement.HandleReceived, transfer(1, 100))
	w.roll(t)
	deliver(t, w, w.starter.HandleStartSendings, startSending(hub))
	w.roll(t)
	deliver(t, w, w.starter.HandleStartDispatchings, startDispatching(hub))
	w.must(t, attempts, "1099511627777 1 true 100")
	w.must(t, early)
}
