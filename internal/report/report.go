package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"iter"
	"time"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// Data is what the report shows.
type Data struct {
	Title    string
	Params   solver.Params
	Strategy string
	Seed     int64

	// Prices and Outcome may be nil: then there are no currencies, or there was no clearing.
	Prices  *solver.Prices
	Outcome *solver.Outcome

	// Elapsed is the time that the clearing took. GeneratedAt is shown in UTC.
	Elapsed     time.Duration
	GeneratedAt time.Time
}

// Write writes the report as a self-contained HTML page in UTF-8. It walks once through the rings of the outcome. The
// page takes about 100 kB, and another 100 to 300 bytes for each registered currency.
func Write(w io.Writer, d Data) error {
	return render(w, newModel(d, ringsOf(d.Outcome)))
}

func ringsOf(o *solver.Outcome) iter.Seq[solver.Ring] {
	if o == nil || len(o.Takings) == 0 {
		return func(func(solver.Ring) bool) {}
	}
	return o.Rings()
}

//go:embed assets
var assets embed.FS

var (
	style  = asset("assets/report.css")
	script = asset("assets/report.js")
	page   = template.Must(template.New("report.html").Funcs(functions).ParseFS(assets, "assets/report.html"))
)

// asset panics if there is no such file, which only a change of this package can bring about.
func asset(name string) string {
	text, err := assets.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func render(w io.Writer, m model) error {
	text, err := json.Marshal(m.Page) // escapes <, > and &, so no string can end the script element around it
	if err != nil {
		return fmt.Errorf("encoding the report's data: %w", err)
	}
	err = page.Execute(w, view{
		model:  m,
		Policy: contentSecurityPolicy(),
		Style:  template.CSS(style), //nolint:gosec // an embedded asset
		Script: template.JS(script), //nolint:gosec // an embedded asset
		JSON:   template.JS(text),   //nolint:gosec // escaped by json.Marshal
	})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// contentSecurityPolicy allows the embedded style sheet and script, by their hashes, and nothing else: no other code,
// and no request to anywhere.
func contentSecurityPolicy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; "+
		"form-action 'none'", sourceHash(style), sourceHash(script))
}

func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
