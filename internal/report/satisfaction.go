package report

import "github.com/circular-trade/circular-trade/internal/solver"

// satisfactionBins is the number of classes of satisfaction: nothing, ten steps of a tenth, and everything.
const satisfactionBins = 12

// A satisfaction counts the currencies of each class, once by the share of their supply that was sold, once by the
// share of their demand that was met, together with the value of that supply and demand.
type satisfaction struct {
	Labels      [satisfactionBins]string `json:"labels"`
	Supply      [satisfactionBins]int    `json:"supply"`
	Demand      [satisfactionBins]int    `json:"demand"`
	SupplyValue [satisfactionBins]number `json:"supplyValue"`
	DemandValue [satisfactionBins]number `json:"demandValue"`
}

var satisfactionLabels = [satisfactionBins]string{
	"none", "under 10 %", "10–20 %", "20–30 %", "30–40 %", "40–50 %",
	"50–60 %", "60–70 %", "70–80 %", "80–90 %", "over 90 %", "all",
}

func newSatisfaction(currencies []solver.CurrencyOutcome) satisfaction {
	s := satisfaction{Labels: satisfactionLabels}
	for _, c := range currencies {
		if c.Offered > 0 {
			bin := satisfactionBin(c.Cleared, c.Offered)
			s.Supply[bin]++
			s.SupplyValue[bin] += number(c.Offered)
		}
		if c.Wanted > 0 {
			bin := satisfactionBin(c.Cleared, c.Wanted)
			s.Demand[bin]++
			s.DemandValue[bin] += number(c.Wanted)
		}
	}
	return s
}

func satisfactionBin(cleared, total float64) int {
	switch {
	case cleared <= 0:
		return 0
	case exhausted(cleared, total):
		return satisfactionBins - 1
	}
	return 1 + int(cleared/total*10)
}
