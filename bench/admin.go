package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/logging"
	"github.com/circular-trade/circular-trade/internal/oauth"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// newAdminCommand measures requests to the admin API, on the database server that TEST_POSTGRES_URL leads to. The
// authorization server, the API, and its clients are all in this process.
func newAdminCommand(runs *int) *cobra.Command {
	var clients []int
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Measure requests to the admin API",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("TEST_POSTGRES_URL") == "" {
				return errors.New(`there is no server to measure on: run "make bench", or set TEST_POSTGRES_URL`)
			}
			return measureAdmin(cmd.Context(), cmd.OutOrStdout(), *runs, clients, duration)
		},
	}
	cmd.Flags().IntSliceVar(&clients, "clients", []int{1, 8, 64}, "numbers of clients, each of which sends one request after the other")
	cmd.Flags().DurationVar(&duration, "duration", time.Second, "how long requests of a kind are sent in each run")
	return cmd
}

// A call is a kind of requests.
type call struct {
	name   string
	status int
	make   func(ctx context.Context, number int64) (*http.Request, error)
}

// A service is how requests of a kind have been answered.
type service struct {
	perSecond   float64
	median, p99 time.Duration
}

func measureAdmin(ctx context.Context, out io.Writer, runs int, clients []int, duration time.Duration) (err error) {
	o, err := newOffice(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	calls := o.calls()
	measured := map[int]map[string][]service{}
	for range runs { // in turn, so that noise is fair
		for _, n := range clients {
			for _, c := range calls {
				s, err := o.send(ctx, c, n, duration)
				if err != nil {
					return fmt.Errorf("%s, %d clients: %w", c.name, n, err)
				}
				if measured[n] == nil {
					measured[n] = map[string][]service{}
				}
				measured[n][c.name] = append(measured[n][c.name], s)
			}
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(table, "\trequests\tclients\tper second\tof the bare one\tmedian ms\tp99 ms\t\n")
	perSecond := func(s service) float64 { return s.perSecond }
	for _, n := range clients {
		bare := medianOf(measured[n][calls[0].name], perSecond)
		for i, c := range calls {
			rate, ofBare := medianOf(measured[n][c.name], perSecond), ""
			if i > 0 {
				ofBare = fmt.Sprintf("%.2f", rate/bare)
			}
			_, _ = fmt.Fprintf(table, "\t%s\t%d\t%s\t%s\t%.2f\t%.2f\t\n", c.name, n, humanize.Comma(int64(rate)), ofBare,
				medianOf(measured[n][c.name], func(s service) float64 { return milliseconds(s.median) }),
				medianOf(measured[n][c.name], func(s service) float64 { return milliseconds(s.p99) }))
		}
	}
	return table.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// An office is an admin API, and beside it a bare handler.
type office struct {
	bare, api string // where they are
	requests  atomic.Int64
	closers   []func() error
}

const (
	knownToken   = "known"
	adminTurns   = 100
	adminThreads = 3 // as many requests the API serves at a time by default
)

// newOffice opens an office. It has to be closed.
func newOffice(ctx context.Context) (o *office, err error) {
	o = &office{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	db, closeDatabase, err := newSolverDatabase(ctx)
	if err != nil {
		return nil, err
	}
	o.closers = append(o.closers, closeDatabase)
	_, err = db.Pool().Exec(ctx, `
		INSERT INTO turn (turn_id, started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
			phase, collection_started_at, collection_deadline)
		SELECT n, now(), 'https://example.com/', 1, 10, 1000, 4, now(), now() FROM generate_series(1, $1) AS n`, adminTurns)
	if err != nil {
		return nil, err
	}
	authority := o.serve(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"active":true,"sub":"root","scope":"access activate"}`)
	})
	if err := o.open(ctx, db, authority); err != nil {
		return nil, err
	}
	answer, err := o.get(ctx, "turns")
	if err != nil {
		return nil, err
	}
	o.bare = o.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})
	return o, nil
}

// serve serves a handler, and returns where.
func (o *office) serve(handler http.HandlerFunc) (address string) {
	server := httptest.NewServer(handler)
	o.closers = append(o.closers, func() error {
		server.Close()
		return nil
	})
	return server.URL
}

// open serves the API.
func (o *office) open(ctx context.Context, db *solverdb.DB, authority string) error {
	tokens, err := oauth.NewIntrospector(oauth.Config{URL: authority, MaxConnections: adminThreads, Now: time.Now})
	if err != nil {
		return err
	}
	o.closers = append(o.closers, func() error {
		tokens.Close()
		return nil
	})
	nobody := regexp.MustCompile(`\A()\z`)
	pool := collector.Pool{First: firstCollector, Last: firstCollector + collectorIDs - 1}
	api, err := adminapi.New(adminapi.Config{
		DB: db, Pool: pool, Tokens: tokens,
		ClaimPool: func(ctx context.Context) error {
			_, _, err := db.ClaimCollectorRange(ctx, pool.First, pool.Last)
			return err
		},
		Identities: adminapi.Identities{Superusers: regexp.MustCompile(`\Aroot\z`), Supervisors: nobody, Creditors: nobody},
		Limits:     adminapi.DefaultLimits(adminThreads),
		Metrics:    adminapi.NewMetrics(prometheus.NewRegistry()),
		Logger:     slog.New(logging.NewHandler(io.Discard, logging.Options{Level: slog.LevelInfo})), // to write it takes time, too
		Now:        time.Now,
	})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	o.api = "http://" + listener.Addr().String() + "/trade/"
	ctx, stop := context.WithCancel(ctx)
	var serving errgroup.Group
	serving.Go(func() error { return api.Serve(ctx, listener) })
	o.closers = append(o.closers, func() error {
		stop()
		return serving.Wait()
	})
	return nil
}

func (o *office) close() error {
	var errs []error
	for _, closer := range slices.Backward(o.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// get returns an answer of the API.
func (o *office) get(ctx context.Context, path string) ([]byte, error) {
	request, err := o.request(ctx, http.MethodGet, path, knownToken, "")
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(response.Body)
	return answer, errors.Join(err, response.Body.Close())
}

// request makes a request to the API. It has been passed on by a proxy, for one of many clients, because the API answers
// only some requests a second of each.
func (o *office) request(ctx context.Context, method, path, token, body string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, o.api+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := o.requests.Add(1) % (1 << 12)
	request.Header.Set("X-Forwarded-For", fmt.Sprintf("10.0.%d.%d", client>>8, client&0xff))
	return request, nil
}

// calls returns the kinds of requests. The first one is what others are compared with.
func (o *office) calls() []call {
	const oneCollector = `{"type":"ActivateCollectorsRequest","numberOfAccounts":1}`
	return []call{
		{"bare handler, the same answer", http.StatusOK, func(ctx context.Context, _ int64) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, o.bare, http.NoBody)
		}},
		{"list turns, known token", http.StatusOK, func(ctx context.Context, _ int64) (*http.Request, error) {
			return o.request(ctx, http.MethodGet, "turns", knownToken, "")
		}},
		{"list turns, new token", http.StatusOK, func(ctx context.Context, number int64) (*http.Request, error) {
			return o.request(ctx, http.MethodGet, "turns", fmt.Sprintf("token-%d", number), "")
		}},
		{"activate, for a new debtor", http.StatusNoContent, func(ctx context.Context, number int64) (*http.Request, error) {
			return o.request(ctx, http.MethodPost, fmt.Sprintf("collectors/%d/activate", number), knownToken, oneCollector)
		}},
		{"activate, again", http.StatusNoContent, func(ctx context.Context, _ int64) (*http.Request, error) {
			return o.request(ctx, http.MethodPost, "collectors/1/activate", knownToken, oneCollector)
		}},
	}
}

// send has clients send requests for a while.
func (o *office) send(ctx context.Context, c call, clients int, duration time.Duration) (s service, err error) {
	transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var mu sync.Mutex
	var all []time.Duration
	group, ctx := errgroup.WithContext(ctx)
	started := time.Now()
	for range clients {
		group.Go(func() error {
			var latencies []time.Duration
			for time.Since(started) < duration {
				begun := time.Now()
				if err := c.do(ctx, client, o.requests.Add(1)); err != nil {
					return err
				}
				latencies = append(latencies, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, latencies...)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return s, err
	}
	s.perSecond = float64(len(all)) / time.Since(started).Seconds()
	s.median, s.p99 = quantile(all, 0.5), quantile(all, 0.99)
	return s, nil
}

// do sends one request.
func (c call) do(ctx context.Context, client *http.Client, number int64) error {
	request, err := c.make(ctx, number)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != c.status {
		return fmt.Errorf("it is answered with %s: %s", response.Status, answer)
	}
	return nil
}

// quantile returns the value that a share of all values do not exceed.
func quantile(all []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}
