package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/fetcher"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

const (
	serverLatency = 20 * time.Millisecond
	fetchTimeout  = 10 * time.Second
)

// newFetchesCommand measures fetching documents, from a server that takes its time, on the database server that
// TEST_POSTGRES_URL leads to.
func newFetchesCommand(runs *int) *cobra.Command {
	var rounds int
	cmd := &cobra.Command{
		Use:   "fetches",
		Short: "Measure fetching documents",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return measureFetches(cmd.Context(), cmd.OutOrStdout(), *runs, rounds)
		},
	}
	cmd.Flags().IntVar(&rounds, "rounds", 100, "documents that each connection fetches in a run")
	return cmd
}

// A library is a server with any number of documents, and a database for what is learned from them.
type library struct {
	db  *workerdb.DB
	url string
}

func measureFetches(ctx context.Context, out io.Writer, runs, rounds int) (err error) {
	if os.Getenv("TEST_POSTGRES_URL") == "" {
		return errors.New(`there is no server to measure on: run "make bench", or set TEST_POSTGRES_URL`)
	}
	db, closeDatabase, err := newDatabase(ctx, postgres.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDatabase()) }()
	server := httptest.NewTLSServer(http.HandlerFunc(serveDocument))
	defer server.Close()
	l := &library{db: db, url: server.URL}

	connections := []int{10, 100, 500}
	bare, service := map[int][]float64{}, map[int][]float64{}
	for range runs {
		for _, n := range connections {
			perSecond, err := l.fetchBare(ctx, n, n*rounds)
			if err != nil {
				return fmt.Errorf("fetching with a bare client over %d connections: %w", n, err)
			}
			bare[n] = append(bare[n], perSecond)
			if perSecond, err = l.fetch(ctx, n, n*rounds); err != nil {
				return fmt.Errorf("fetching over %d connections: %w", n, err)
			}
			service[n] = append(service[n], perSecond)
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(table, "\tconnections, server with %v\tbare, per second\tper second\tof the bare one\t\n",
		serverLatency)
	for _, n := range connections {
		b, s := median(bare[n]), median(service[n])
		_, _ = fmt.Fprintf(table, "\t%d\t%s\t%s\t%.2f\t\n", n, humanize.Comma(int64(b)), humanize.Comma(int64(s)), s/b)
	}
	return table.Flush()
}

// serveDocument answers, after a while, with a document that names the requested address as its own.
func serveDocument(out http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(serverLatency):
	case <-r.Context().Done():
		return
	}
	out.Header().Set("Content-Type", coininfo.MediaType)
	//nolint:gosec // nobody looks at it with a browser
	_, _ = fmt.Fprintf(out, `{"type":"CoinInfo","revision":1,"latestDebtorInfo":{"uri":"https://%s%s"},
		"summary":"A currency that is fetched very often","debtorName":"Benchmark","amountDivisor":100.0,
		"decimalPlaces":2,"unit":"BEN",
		"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:1"},
		"peg":{"type":"Peg","exchangeRate":1.5,"latestDebtorInfo":{"uri":"https://%s/peg"},
		"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:2"}}}`, r.Host, r.URL.Path, r.Host)
}

func (l *library) address(i int) string { return fmt.Sprintf("%s/%d", l.url, i) }

// fetchBare downloads documents with nothing but the standard library.
func (l *library) fetchBare(ctx context.Context, connections, documents int) (float64, error) {
	transport := &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the server is a part of this program
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: fetchTimeout}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range connections {
		group.Go(func() error {
			for i := next.Add(1); i <= int64(documents); i = next.Add(1) {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.address(int(i)), http.NoBody)
				if err != nil {
					return err
				}
				response, err := client.Do(request)
				if err != nil {
					return err
				}
				if _, err := io.Copy(io.Discard, response.Body); err != nil {
					return err
				}
				if err := response.Body.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(documents) / time.Since(start).Seconds(), err
}

// fetch fetches documents that are due.
func (l *library) fetch(ctx context.Context, connections, documents int) (float64, error) {
	rules := &currency.Rules{
		DocumentExpiry: 7 * 24 * time.Hour, ClaimExpiry: 45 * 24 * time.Hour, MaxMessageDelay: 7 * 24 * time.Hour,
		MaxDistanceToBase: 10, Logger: slog.New(slog.DiscardHandler),
	}
	if err := l.request(ctx, rules, documents); err != nil {
		return 0, err
	}
	client := fetch.NewClient(fetch.Config{
		MediaType: coininfo.MediaType, Timeout: fetchTimeout, Connections: connections, HostConnections: connections,
		MaxBodyBytes: 262144, SkipVerify: true, AllowPrivate: true,
	})
	defer client.Close()
	f := fetcher.New(fetcher.Config{
		DB: l.db, Rules: rules, Downloader: client, Connections: connections, HostConnections: connections,
		Timeout: fetchTimeout, Burst: 2000, Now: time.Now, Random: rand.Float64,
		Metrics: fetcher.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler),
	})
	start := time.Now()
	if err := f.RunOnce(ctx); err != nil {
		return 0, err
	}
	elapsed := time.Since(start)
	var left, messages int
	const count = "SELECT (SELECT count(*) FROM debtor_info_fetch), (SELECT count(*) FROM outbox)"
	if err := l.db.Pool().QueryRow(ctx, count).Scan(&left, &messages); err != nil {
		return 0, err
	}
	if left > 0 || messages != 2*documents {
		return 0, fmt.Errorf("of %d fetches, %d are left, and there are %d messages", documents, left, messages)
	}
	return float64(documents) / elapsed.Seconds(), nil
}

// request puts fetches into an empty queue.
func (l *library) request(ctx context.Context, rules *currency.Rules, documents int) error {
	if _, err := l.db.Pool().Exec(ctx, "TRUNCATE debtor_info_fetch, debtor_info_document, outbox"); err != nil {
		return err
	}
	const portion = 5000
	for first := 0; first < documents; first += portion {
		var batch []*smp.FetchDebtorInfo
		for i := first; i < min(first+portion, documents); i++ {
			batch = append(batch, &smp.FetchDebtorInfo{
				IRI: l.address(i + 1), DebtorID: swpt.DebtorID(1), IsLocatorFetch: true,
			})
		}
		err := l.db.InTx(ctx, "bench", func(ctx context.Context, tx *workerdb.Tx) error {
			return rules.HandleFetchDebtorInfos(ctx, tx, time.Now().Truncate(time.Microsecond), batch)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
