package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/fetch/fetchtest"
	"github.com/circular-trade/circular-trade/internal/outbox"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// The whole way of a currency through the commands of a worker: from a collector's account to the price.
func TestCurrencies(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	site := "https://127.0.0.1:" + strconv.Itoa(web.Port())
	pages := map[string]string{
		"/account": `{"type":"CoinInfo","latestDebtorInfo":{"uri":"SITE/eur"},"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:1001"}}`,
		"/eur": `{"type":"CoinInfo","latestDebtorInfo":{"uri":"SITE/eur"},"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:1001"},
			"peg":{"type":"Peg","exchangeRate":2.5,"latestDebtorInfo":{"uri":"SITE/base"},"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:1003"}}}`,
		"/base": `{"type":"CoinInfo","latestDebtorInfo":{"uri":"SITE/base"},"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:1003"}}`,
	}
	web.Handle("127.0.0.1", func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", coininfo.MediaType)
		_, _ = io.WriteString(out, strings.ReplaceAll(pages[r.URL.Path], "SITE", site))
	})
	d := newDeployment(t)
	d.environment["HTTP_FETCH_SSL_CERT_FILE"] = web.CertFile(t)
	d.environment["APP_HTTP_FETCH_ALLOW_PRIVATE"] = "true"
	d.environment["HTTP_FETCH_PERIOD"] = "3600"
	d.environment["HTTP_FETCH_PROCESSES"] = "2"
	d.environment["BASE_DEBTOR_ID"] = "1003"
	d.environment["BASE_DEBTOR_INFO_LOCATOR"] = site + "/base"
	d.mustRun(t, "configure")
	if got := d.mustRun(t, "currencies"); got != "Base currency: 1003, "+site+"/base; at most 10 pegs away\n" {
		t.Errorf("it says %q", got)
	}
	d.start(t, "flush_all")
	d.start(t, "consume_messages", "--prefetch-count", "10")
	d.start(t, "fetch_debtor_infos")
	db := d.openWorkerDB(t)
	err := db.InTx(t.Context(), "test", func(ctx context.Context, tx *workerdb.Tx) error {
		return outbox.Append(ctx, tx, &smp.DiscoverDebtor{DebtorID: 1001, IRI: site + "/account", TS: time.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Currencies []struct {
			Price   float64
			Reasons []struct{ Code string }
		}
	}
	testenv.Eventually(t, servicePatience, func() error {
		said := d.mustRun(t, "currencies", "--json", "1001")
		if err := json.Unmarshal([]byte(said), &report); err != nil {
			t.Fatal(err)
		}
		if c := report.Currencies[0]; c.Price != 2.5 || len(c.Reasons) != 1 || c.Reasons[0].Code != "no_collector" {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	d.mustRun(t, "fetch_debtor_infos", "--quit-early")
	delete(d.environment, "WORKER_POSTGRES_URL")
	if got := d.mustRun(t, "currencies", "0x3e9"); !strings.Contains(got, "\n1001 cannot be traded\n  - whether the debtor is confirmed is known to a worker that has not been asked [other_shard]\n") {
		t.Errorf("it says %s", got)
	}
	delete(d.environment, "SOLVER_POSTGRES_URL")
	d.run(t.Context(), "currencies").mustFail(t, exitFailure,
		"trade: there is no database to ask: set WORKER_POSTGRES_URL, SOLVER_POSTGRES_URL, or both\n")
	d.run(t.Context(), "currencies", "x").mustFail(t, exitUsage,
		"trade: \"x\" is not a 64-bit ID\nUsage: trade currencies [DEBTOR_ID...] [flags]\n"+
			"Run 'trade currencies --help' to see more.\n")
}
