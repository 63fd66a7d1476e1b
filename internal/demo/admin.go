package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/world"
)

// The pool of IDs for collectors, which is that of the service's defaults.
var collectorIDs = collector.Pool{First: 0x10000000000, Last: 0x100000007ff}

// An admin is the admin API. It is served here, and not by a process "trade webserver", because that listens on all
// network interfaces, and this one asks for no tokens.
type admin struct {
	url   string
	end   context.CancelFunc
	ended chan error
}

// startAdmin serves the API on a free port of the loopback interface.
func startAdmin(ctx context.Context, db *solverdb.DB, log io.Writer) (*admin, error) {
	limits := adminapi.DefaultLimits(3)
	limits.Rate, limits.Burst = 10_000, 10_000 // there is one client, who may have many currencies
	api, err := adminapi.New(adminapi.Config{
		DB: db, Pool: collectorIDs, Unprotected: true, Limits: limits,
		ClaimPool: func(ctx context.Context) error {
			_, _, err := db.ClaimCollectorRange(ctx, collectorIDs.First, collectorIDs.Last)
			return err
		},
		Metrics: adminapi.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("looking for a free port: %w", err)
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	a := &admin{url: "http://" + listener.Addr().String(), end: end, ended: make(chan error, 1)}
	go func() { a.ended <- api.Serve(serving, listener) }()
	return a, nil
}

func (a *admin) stop() error {
	a.end()
	return <-a.ended
}

// planCollectors has the service make as many collectors as the scenario wants, as operators do.
func (a *admin) planCollectors(ctx context.Context, scenario *world.Scenario) error {
	for i := range scenario.Currencies {
		c := &scenario.Currencies[i]
		if c.Dummy {
			continue
		}
		path := fmt.Sprintf("/trade/collectors/%d/activate", uint64(c.Debtor)) //nolint:gosec // the way people write IDs
		request := adminapi.ActivateCollectorsRequest{NumberOfAccounts: int64(max(1, c.Collectors))}
		if err := a.post(ctx, path, request); err != nil {
			return fmt.Errorf("planning collectors of %s: %w", c.Name, err)
		}
	}
	return nil
}

func (a *admin) post(ctx context.Context, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it has been read
	if response.StatusCode != http.StatusNoContent {
		answer, _ := io.ReadAll(response.Body)
		return fmt.Errorf("the admin API answers %s: %s", response.Status, answer)
	}
	return nil
}
