package report

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// findBrowser returns a Chromium, or skips the test.
func findBrowser(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Skip("no Chromium is installed, which could run the script of the report")
	return ""
}

// dump loads a page in a headless browser and returns the document as it is when everything is drawn.
func dump(tb testing.TB, browser string, m *market) string {
	tb.Helper()
	folder := tb.TempDir()
	path := filepath.Join(folder, "report.html")
	var page, document, problems bytes.Buffer
	m.write(tb, &page)
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, browser,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+filepath.Join(folder, "profile"),
		"--window-size=1280,900", "--dump-dom", "file://"+path)
	command.Stdout, command.Stderr = &document, &problems
	if err := command.Run(); err != nil {
		tb.Fatalf("%v: %s", err, problems.String())
	}
	return document.String()
}

func TestScriptDrawsTheReport(t *testing.T) {
	t.Parallel()
	browser := findBrowser(t)
	for _, c := range []struct {
		name   string
		market *market
		want   []string
	}{
		{"village", village(t), []string{
			`id="row-0"`, "Not connected to the base currency", "below a peg cycle", "1–5 of 5 tradable currencies",
			`class="ring-drawing"`, "31,250", `<th scope="row">5</th>`,
		}},
		{"metropolis", metropolis(t, 10_000, 20_000), []string{
			"10,000 currencies", "1–25 of", `class="ring-drawing"`,
		}},
		{"hostile", hostile(t), []string{"&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;", `class="ring-drawing"`}},
		{"astronomic", astronomic(t), []string{"3×10⁵⁷", "9,000,000,000,000,000,000", "-9223372036854775808"}},
		{"no rings", withoutRings(), []string{"No rings were closed.", "1–2 of 2 tradable currencies"}},
		{"no offers", withoutOffers(), []string{"There were no offers that could take part.", "No rings were closed."}},
		{"no base", withoutBase(), []string{"unknown peg", "Not connected to the base currency"}},
		{"nothing", withoutCurrencies(), []string{"No currencies are registered."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			document := dump(t, browser, c.market)
			html, _, _ := strings.Cut(document, "<head>")
			if !strings.Contains(html, `data-report="ready"`) || strings.Contains(html, "data-errors") {
				t.Fatalf("the script failed: %s", html)
			}
			for _, want := range c.want {
				if !strings.Contains(document, want) {
					t.Errorf("the document does not contain %q", want)
				}
			}
		})
	}
}
