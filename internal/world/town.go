package world

import (
	"math"

	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/world/agent"
)

// The currencies of the town.
const (
	townEuro swpt.DebtorID = 666

	townLoaves  swpt.DebtorID = 8001
	townBoxes   swpt.DebtorID = 8002
	townPower   swpt.DebtorID = 8003
	townTickets swpt.DebtorID = 8004

	townRepairs swpt.DebtorID = 9001
	townBikes   swpt.DebtorID = 9002
	townLessons swpt.DebtorID = 9003
	townKnits   swpt.DebtorID = 9004
)

// Town returns the built-in scenario: a small town, whose businesses hand out tokens for what they make, and whose
// people have too many of some, and would rather have others. One token is a thousandth of the unit.
func Town() Scenario {
	town := Scenario{Name: "a small town", Currencies: townCurrencies()}
	for i, w := range townPeople {
		town.Customers = append(town.Customers, w.customer(FirstCustomer+swpt.CreditorID(i)+1))
	}
	town.approvePegs()
	return town
}

func townCurrencies() []Currency {
	euro := func(price float64) *agent.Peg { return &agent.Peg{Debtor: townEuro, Rate: price} }
	return []Currency{
		{
			Debtor: townEuro, Name: "Euro", Unit: "euros", Divisor: 1000, Decimals: 2, Dummy: true,
			Summary: "Nobody in town needs any; prices are compared in it.",
		},
		{
			Debtor: townLoaves, Name: "Mill Street Bakery", Unit: "loaves", Divisor: 1000, Decimals: 1, Peg: euro(4),
			Summary: "One loaf of bread, fresh from the oven, on any weekday.",
		},
		{
			Debtor: townBoxes, Name: "Green Valley Farm", Unit: "vegetable boxes", Divisor: 1000, Decimals: 1, Peg: euro(20),
			Rate: -5, Summary: "One box of what the fields have to give this week.",
		},
		{
			Debtor: townPower, Name: "Sunny Roofs", Unit: "kilowatt-hours", Divisor: 1000, Decimals: 0, Peg: euro(0.25),
			Summary: "One kilowatt-hour from the roofs of the town.",
		},
		{
			Debtor: townTickets, Name: "Little Theatre", Unit: "theatre tickets", Divisor: 1000, Decimals: 1, Peg: euro(12),
			Summary: "One seat, for any play, as long as there are seats.",
		},
		{
			Debtor: townRepairs, Name: "Repair Café", Unit: "repair hours", Divisor: 1000, Decimals: 1, Peg: euro(30),
			Summary: "One hour of somebody who mends what others throw away.",
		},
		{
			Debtor: townBikes, Name: "Riverside Bikes", Unit: "bike days", Divisor: 1000, Decimals: 1,
			Peg:     &agent.Peg{Debtor: townRepairs, Rate: 0.5},
			Summary: "A bicycle for a day: two of them for an hour of repairs.",
		},
		{
			Debtor: townLessons, Name: "Harbour Language School", Unit: "lessons", Divisor: 1000, Decimals: 1, Peg: euro(24),
			Rate: 2, Summary: "One lesson, in any of nine languages.",
		},
		{
			Debtor: townKnits, Name: "Wool and Loom", Unit: "jumpers", Divisor: 1000, Decimals: 2,
			Peg:     &agent.Peg{Debtor: townBoxes, Rate: 4},
			Summary: "One hand-knitted jumper, for the price of four vegetable boxes.",
		},
	}
}

// A townsperson has too much of something, and wishes for something else, in thousandths of the unit.
type townsperson struct {
	name, about string
	sells, buys []wish
	keeps       []wish  // has, without wanting to trade
	oldPrice    float64 // of what is sold, in euros, if that is what is approved, and not the current price
}

type wish struct {
	debtor swpt.DebtorID
	amount int64
}

// townPeople are so chosen that there are rings of two, of three and of four.
var townPeople = []townsperson{
	{
		name: "Anna Baker", about: "owns a share of the bakery, has more bread than she can eat, and would like to see plays",
		sells: []wish{{townLoaves, 60_000}}, buys: []wish{{townTickets, 20_000}},
	},
	{
		name: "Boris, the stage manager", about: "is paid in theatre tickets, and has four children who eat bread",
		sells: []wish{{townTickets, 20_000}}, buys: []wish{{townLoaves, 60_000}},
	},
	{
		name: "Clara Fields", about: "grows vegetables, and her tractor needs mending",
		sells: []wish{{townBoxes, 15_000}}, buys: []wish{{townRepairs, 10_000}},
	},
	{
		name: "Deniz, who mends everything", about: "has repair hours to give, and wants to heat with power from the roofs",
		sells: []wish{{townRepairs, 10_000}}, buys: []wish{{townPower, 1_200_000}},
	},
	{
		name: "Sunny Roofs' caretaker Eve", about: "has more power than one household needs, and likes vegetables",
		sells: []wish{{townPower, 1_200_000}}, buys: []wish{{townBoxes, 15_000}},
	},
	{
		name: "Farid, the teacher", about: "teaches nine languages, and wants to cycle along the river",
		sells: []wish{{townLessons, 12_000}}, buys: []wish{{townBikes, 19_000}},
	},
	{
		name: "Greta Rivers", about: "rents out bicycles, and is always cold",
		sells: []wish{{townBikes, 20_000}}, buys: []wish{{townKnits, 4_000}},
	},
	{
		name: "Hugo Weaver", about: "knits faster than people can wear, and would like better seats in the theatre",
		sells: []wish{{townKnits, 4_000}}, buys: []wish{{townTickets, 25_000}},
	},
	{
		name: "Ines, the actress", about: "has tickets, and an Italian part to learn",
		sells: []wish{{townTickets, 25_000}}, buys: []wish{{townLessons, 12_500}},
	},
	{
		name: "Jakub Stone", about: "mended the mill, was paid in loaves, and wants lessons",
		sells: []wish{{townLoaves, 75_000}}, buys: []wish{{townLessons, 12_000}},
	},
	{
		name: "Karin, who learns no more", about: "speaks enough languages now, and needs her oven mended",
		sells: []wish{{townLessons, 10_000}}, buys: []wish{{townRepairs, 8_000}},
	},
	{
		name: "Luis, the clockmaker", about: "gives an afternoon a week to the Repair Café, and likes bread and power",
		sells: []wish{{townRepairs, 12_000}}, buys: []wish{{townLoaves, 45_000}, {townPower, 700_000}},
	},
	{
		name: "The kindergarten", about: "is given vegetables by everybody, and has a roof without panels",
		sells: []wish{{townBoxes, 25_000}}, buys: []wish{{townPower, 1_000_000}, {townLoaves, 50_000}},
	},
	{
		name: "The inn by the lake", about: "has tickets left from a cancelled party, and a kitchen to fill",
		sells: []wish{{townTickets, 30_000}}, buys: []wish{{townBoxes, 10_000}, {townLoaves, 40_000}},
	},
	{
		name: "Mei, the electrician", about: "put up half of the panels, and wants to hear and see more of the world",
		sells: []wish{{townPower, 2_000_000}}, buys: []wish{{townTickets, 15_000}, {townLessons, 10_000}},
	},
	{
		name: "Nora and Ole", about: "were given bicycles for their wedding, and cook every day",
		sells: []wish{{townBikes, 16_000}}, buys: []wish{{townBoxes, 12_000}},
	},
	{
		name: "Pavel, the postman", about: "has a jumper for every day of the week, and sore feet",
		sells: []wish{{townKnits, 3_000}}, buys: []wish{{townBikes, 15_000}},
		keeps: []wish{{townRepairs, 2_000}},
	},
	{
		name: "Quincy, the organist", about: "plays at Sunny Roofs' feasts, and feels the draught in the church",
		sells: []wish{{townPower, 800_000}}, buys: []wish{{townKnits, 2_500}},
	},
	{
		name: "Rosa Miller", about: "bought loaves when they were cheap, and has not noticed that a loaf is four euros now",
		sells: []wish{{townLoaves, 50_000}}, buys: []wish{{townBikes, 10_000}}, oldPrice: 3,
	},
	{
		name: "Samir, the saver", about: "keeps what he has, for harder times",
		keeps: []wish{{townLoaves, 30_000}, {townPower, 500_000}, {townRepairs, 5_000}},
	},
	{
		name: "The town library", about: "lent a hall to the language school, and has a leaking roof",
		sells: []wish{{townLessons, 15_000}}, buys: []wish{{townRepairs, 6_000}, {townTickets, 10_000}},
	},
	{
		name: "Uma Green", about: "married into the farm, and dreams of wool",
		sells: []wish{{townBoxes, 18_000}}, buys: []wish{{townKnits, 3_500}},
	},
}

// customer returns what a townsperson has, and wants.
func (p *townsperson) customer(id swpt.CreditorID) Customer {
	c := Customer{ID: id, Name: p.name, About: p.about}
	for _, w := range p.sells {
		reserve := int64(float64(w.amount)*reserveShare) + leastReserve
		policy := agent.Policy{Name: policyName, MinPrincipal: 0, MaxPrincipal: reserve}
		if p.oldPrice > 0 {
			policy.Peg = &agent.Peg{Debtor: townEuro, Rate: p.oldPrice}
		}
		c.Accounts = append(c.Accounts, Account{Debtor: w.debtor, Balance: w.amount + reserve, Policy: policy})
	}
	for _, w := range p.buys {
		const already = 500
		c.Accounts = append(c.Accounts, Account{
			Debtor: w.debtor, Balance: already,
			Policy: agent.Policy{Name: policyName, MinPrincipal: w.amount + already, MaxPrincipal: math.MaxInt64},
		})
	}
	for _, w := range p.keeps {
		c.Accounts = append(c.Accounts, Account{Debtor: w.debtor, Balance: w.amount, Policy: agent.NoPolicy()})
	}
	return c
}
