package diagnosis

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// printable returns text of strangers in a form that does nothing to terminals.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 && text != "" {
		return text
	}
	return strconv.QuoteToGraphic(text)
}

// Print writes a report for people.
func (r *Report) Print(out io.Writer, now time.Time) error {
	var text strings.Builder
	if r.Base != nil {
		fmt.Fprintf(&text, "Base currency: %s, %s; at most %d pegs away\n",
			r.Base.DebtorID, printable(r.Base.Locator), r.Base.MaxDistance)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(&text, "Problem: %s\n", problem)
	}
	for i := range r.Currencies {
		text.WriteString("\n")
		r.Currencies[i].write(&text, now)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (c *CurrencyReport) write(text *strings.Builder, now time.Time) {
	verdict := "can be traded"
	if !c.Tradable {
		verdict = "cannot be traded"
	}
	fmt.Fprintf(text, "%s %s", c.DebtorID, verdict)
	if c.Price != nil {
		fmt.Fprintf(text, ", price %v", *c.Price)
	}
	text.WriteString("\n")
	for _, reason := range c.Reasons {
		fmt.Fprintf(text, "  - %s [%s]\n", reason.Text, reason.Code)
	}
	for i, link := range c.Chain {
		arrow := "    "
		if i > 0 {
			arrow = " -> "
		}
		fmt.Fprintf(text, "%s%s, %s", arrow, link.DebtorID, printable(link.Locator))
		if link.FetchedAt != nil {
			fmt.Fprintf(text, ", fetched %s", humanize.RelTime(*link.FetchedAt, now, "ago", "from now"))
		}
		if link.Expired {
			text.WriteString(" (expired)")
		}
		if link.Rate != nil {
			fmt.Fprintf(text, ", pegged at %v", *link.Rate)
		}
		text.WriteString("\n")
	}
	fmt.Fprintf(text, "    active collectors: %d\n", c.Collectors)
}
