package report

import (
	"html/template"
	"strconv"
)

// functions are what the template can call.
var functions = template.FuncMap{
	"count":    formatCount,
	"value":    formatValue,
	"share":    formatShare,
	"duration": formatDuration,
	"percent":  percent,
	"plural":   plural,
	"sidebar":  newSideBar,
	"causes":   newCauses,
	"limits":   newLimitList,
}

// view is what the template sees.
type view struct {
	model

	Policy string
	Style  template.CSS
	Script template.JS
	JSON   template.JS
}

// MatchedShare tells how much was cleared of the most that could have been, if rings were always to be found.
func (v view) MatchedShare() float64 { return v.Supply.Cleared / v.Supply.Matchable() }

// A sideBar is one side of the market as a bar, next to the other side on the same scale.
type sideBar struct {
	side

	Name, Class string
	Scale       float64
}

func newSideBar(name, class string, this, other side) sideBar {
	return sideBar{side: this, Name: name, Class: class, Scale: max(this.Total, other.Total)}
}

// causes tell in words why a side of the market was not cleared in full.
type causes struct {
	side

	Class, TooMuch, NoWay string
}

func newCauses(s side, class, tooMuch, noWay string) causes {
	return causes{side: s, Class: class, TooMuch: tooMuch, NoWay: noWay}
}

// PartnerShare and CircleShare are the shares of the two causes in all that was offered or wanted.
func (c causes) PartnerShare() float64 { return c.NoPartner / c.Total }

// CircleShare is explained with PartnerShare.
func (c causes) CircleShare() float64 { return c.NoCircle / c.Total }

// A limitList shows limits, or that there are none.
type limitList struct {
	Limits                []limit
	Class, Unmet, Nothing string
}

func newLimitList(limits []limit, class, unmet, nothing string) limitList {
	return limitList{Limits: limits, Class: class, Unmet: unmet, Nothing: nothing}
}

// plural returns the word for one thing, or the number and the word for several.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return formatCount(n) + " " + many
}

// percent writes a part of a whole as a length for SVG.
func percent(part, whole float64) string {
	if !(whole > 0) {
		return "0%"
	}
	return strconv.FormatFloat(100*min(1, max(0, part/whole)), 'f', 2, 64) + "%"
}
