package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// hostile is a market of currencies whose locators try to get out of the places that they are put in.
func hostile(tb testing.TB) *market {
	tb.Helper()
	m := newMarket()
	m.params.BaseLocator = `https://base/"><img src=x onerror=alert(0)>`
	m.currencies[0].Locator = m.params.BaseLocator
	toBase := &solver.Peg{Locator: m.params.BaseLocator, DebtorID: baseID, Rate: 1}
	for i, locator := range []string{
		`</script><script>alert(1)</script>`,
		"<!--<script>",
		"]]>--></style><svg onload=alert(2)>",
		"{{.Title}}${alert(3)}`'\"\\",
		"\u2028\u2029\u202e\x00\x1b[31m\xff",
		"javascript:alert(4)",
	} {
		m.addCurrency(solver.Currency{Confirmed: true, Locator: locator, DebtorID: swpt.DebtorID(61 + i), Peg: toBase})
	}
	m.trade(5_000, -9_000_000_000_000_000_000, m.prices(tb), 60, 61, 62, 63, 64, 65, 66)
	for id := range swpt.DebtorID(7) {
		m.unmet[60+id] = float64(100 * (id + 1))
	}
	return m
}

// astronomic is a market with the largest values that there can be.
func astronomic(tb testing.TB) *market {
	tb.Helper()
	m := newMarket()
	m.add(-1<<63, pegTo(baseID, 3.4e38))
	m.add(1<<63-1, pegTo(baseID, 1.2e-38))
	m.trade(3e57, -1<<63, m.prices(tb), -1<<63, 1<<63-1)
	m.unsold[-1<<63] = 2e57
	return m
}

func withoutOffers() *market {
	m := newMarket()
	m.add(61, pegTo(baseID, 2))
	return m
}

func withoutBase() *market {
	m := newMarket()
	m.currencies = nil
	m.add(61, pegTo(baseID, 2))
	return m
}

func withoutRings() *market {
	m := withoutOffers()
	m.unsold[61], m.unmet[60] = 1000, 2000
	return m
}

func withoutCurrencies() *market {
	m := newMarket()
	m.currencies = nil
	return m
}

func TestReportSaysWhatHappened(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		market *market
		want   []string
	}{
		"village": {village(t), []string{
			"<title>A market</title>", "<b>12</b> of 18 traders", "in <b>4</b> circular trades worth <b>76,103</b> in total",
			"<dt>of the offered value was cleared</dt> <dd>93.6 %</dd>", "of 5 tradable, 17 registered",
			`<time datetime="2026-03-01T12:30:00Z">1 March 2026, 12:30 UTC</time>`, "<dd>1.2 s</dd>",
			`Nobody sells enough of <b class="name">example.com/61</b>: 35,001 is wanted, only 25,501 was for sale`,
			`Too few want <b class="name">example.com/60</b>`, "<dd>1,000 tokens</dd>",
		}},
		"no rings": {withoutRings(), []string{
			"2 offers were made, but no ring of traders could be closed", "<dd>0 %</dd>",
			`Nobody sells <b class="name">example.com/60</b>, though 2,000 of it is wanted.`,
		}},
		"no offers": {withoutOffers(), []string{"There are no offers in 2 tradable currencies, so nothing was traded."}},
		"no base":   {withoutBase(), []string{`The base currency <b class="name">example.com/60</b> (debtor ID 60) is not registered`}},
		"nothing":   {withoutCurrencies(), []string{"No currencies are registered, so there is nothing to trade."}},
		"huge":      {astronomic(t), []string{"worth <b>6×10⁵⁷</b> in total", "<dd>8×10⁵⁷</dd>", "<dd>75.0 %</dd>"}},
	} {
		text := strings.Join(strings.Fields(strings.ReplaceAll(c.market.html(t), "\u00a0", " ")), " ")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page does not contain %q", name, want)
			}
		}
	}
}

// Page is what the script reads, here as a script in another language would.
func pageOf(tb testing.TB, html string) map[string]any {
	tb.Helper()
	_, rest, found := strings.Cut(html, `<script type="application/json" id="data">`)
	text, _, ended := strings.Cut(rest, "</script>")
	if !found || !ended {
		tb.Fatal("the page has no data")
	}
	var page map[string]any
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		tb.Fatal(err)
	}
	return page
}

func TestReportHoldsIDsAndAmountsAsStrings(t *testing.T) {
	t.Parallel()
	page := pageOf(t, astronomic(t).html(t))
	columns := page["currencies"].(map[string]any)
	if got := columns["id"].([]any); got[1] != "-9223372036854775808" || got[2] != "9223372036854775807" {
		t.Errorf("IDs are %v", got)
	}
	steps := page["rings"].([]any)[0].(map[string]any)["steps"].([]any)
	if got := steps[1].([]any); got[0] != "-9223372036854775807" || got[1] != "9223372036854775807" || got[2] != "9000000000000000000" {
		t.Errorf("the second step is %v", got)
	}
}

func TestReportHasNoNullsInsteadOfLists(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*market{"empty": withoutCurrencies(), "no offers": withoutOffers()} {
		if html := m.html(t); strings.Contains(html, ":null") {
			t.Errorf("%s: the data has a null", name)
		}
	}
}

func TestReportEscapesLocators(t *testing.T) {
	t.Parallel()
	html := hostile(t).html(t)
	for _, bad := range []string{"<script>alert", "<img", "<svg onload", "<!--", "\u202e", "\x00", "\x1b", "\xff"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if n := strings.Count(html, "<script"); n != 2 {
		t.Errorf("%d script elements, want 2", n)
	}
	locators := pageOf(t, html)["currencies"].(map[string]any)["locator"].([]any)
	if locators[1] != "</script><script>alert(1)</script>" || locators[5] != "\ufffd\ufffd\ufffd\ufffd\ufffd[31m\ufffd" {
		t.Errorf("locators are %q", locators)
	}
}

func TestReportEscapesTitle(t *testing.T) {
	t.Parallel()
	d := withoutOffers().data(t)
	d.Title, d.Strategy = "</title><script>alert(1)</script>", "<b onclick=alert(2)>"
	var page bytes.Buffer
	if err := Write(&page, d); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script>alert") || strings.Contains(page.String(), "<b onclick") {
		t.Error("the title or the strategy is not escaped")
	}
}

// A browser refuses the style sheet and the script if the policy has not the hashes of what is really on the page.
func TestReportAllowsItsOwnAssetsOnly(t *testing.T) {
	t.Parallel()
	html := hostile(t).html(t)
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(html)
	if len(policy) != 2 || !strings.HasPrefix(policy[1], "default-src &#39;none&#39;; style-src") {
		t.Fatalf("the policy is %q", policy)
	}
	for _, pattern := range []string{`(?s)<style>(.*?)</style>`, `(?s)<script>(.*?)</script>`} {
		text := regexp.MustCompile(pattern).FindStringSubmatch(html)
		if len(text) != 2 || !strings.Contains(strings.ReplaceAll(policy[1], "&#43;", "+"), sourceHash(text[1])) {
			t.Errorf("the policy %q does not allow %s", policy[1], pattern)
		}
	}
	for _, reference := range regexp.MustCompile(`(?i)\s(?:src|href|action|data|style)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(reference[1], "#") && reference[1] != "data:," {
			t.Errorf("the page refers to %q", reference[1])
		}
	}
}

func TestReportStaysSmall(t *testing.T) {
	t.Parallel()
	const limit = 3_000_000
	m := metropolis(t, 10_000, 20_000)
	if n := len(m.html(t)); n > limit/2 {
		t.Errorf("the report of 10,000 currencies takes %d bytes", n)
	}
	for i := range m.currencies {
		m.currencies[i].Locator += strings.Repeat("/long", 100)
		if peg := m.currencies[i].Peg; peg != nil {
			peg.Locator += strings.Repeat("/long", 100)
		}
	}
	m.params.BaseLocator = m.currencies[0].Locator
	if n := len(m.html(t)); n > limit {
		t.Errorf("the report of 10,000 currencies with long locators takes %d bytes", n)
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteReportsErrors(t *testing.T) {
	t.Parallel()
	if err := Write(brokenPipe{}, withoutOffers().data(t)); !errors.Is(err, errBroken) {
		t.Errorf("the error is %v", err)
	}
}

func TestWriteTakesNothing(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	if err := Write(&page, Data{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "No currencies are registered") {
		t.Error("the page does not say that there is nothing")
	}
}

// The rings come from the solver here.
func TestWriteShowsAClearing(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.add(61, pegTo(baseID, 0.7))
	m.add(62, pegTo(baseID, 1.3))
	d := m.data(t)
	exchange := solver.NewMarket(d.Prices)
	for i, offers := range []struct {
		sold, wanted swpt.DebtorID
		amount       int64
	}{{60, 61, 10_000}, {61, 62, 11_000}, {62, 60, 12_000}} {
		trader := swpt.CreditorID(i + 1)
		_, sellErr := exchange.AddSell(solver.SellOffer{Creditor: trader, Debtor: offers.sold, Amount: offers.amount, Collector: 801})
		_, buyErr := exchange.AddBuy(solver.BuyOffer{Creditor: trader, Debtor: offers.wanted, Amount: 20_000})
		if err := errors.Join(sellErr, buyErr); err != nil {
			t.Fatal(err)
		}
	}
	outcome, err := exchange.Clear(t.Context(), solver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.Outcome = outcome
	var page bytes.Buffer
	if err := Write(&page, d); err != nil {
		t.Fatal(err)
	}
	rings := pageOf(t, page.String())["rings"].([]any)
	if len(rings) != 1 || rings[0].(map[string]any)["length"] != 3.0 {
		t.Errorf("rings are %v, want one of three traders", rings)
	}
}
