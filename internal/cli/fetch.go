package cli

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/fetcher"
	"github.com/circular-trade/circular-trade/internal/server"
)

// fetchSettings are those of the command that fetches documents.
type fetchSettings struct {
	PartSettings
	FetchSettings
}

// FetchSettings are those of fetching documents.
type FetchSettings struct {
	config.Fetch
	config.DebtorInfo
	config.Pegs
}

func newFetchDebtorInfosCommand(environment []string) *cobra.Command {
	var quitEarly bool
	cmd := &cobra.Command{
		Use:   "fetch_debtor_infos",
		Short: "Fetch the documents about currencies that are due",
		Long: `Fetches, over HTTPS, the documents in which issuers describe their currencies, as far as they are due.
Any number of processes may do that at the same time.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings fetchSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return fetchDebtorInfos(cmd.Context(), settings, quitEarly, logger)
		},
	}
	OverrideFlag(cmd, "processes", "p", "HTTP_FETCH_PROCESSES")
	OverrideFlag(cmd, "connections", "c", "HTTP_FETCH_CONNECTIONS")
	OverrideFlag(cmd, "timeout", "t", "HTTP_FETCH_TIMEOUT")
	OverrideFlag(cmd, "wait", "w", "HTTP_FETCH_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when everything that is due has been fetched once")
	return cmd
}

// fetchDebtorInfos fetches documents until the process is asked to end, or only once.
func fetchDebtorInfos(ctx context.Context, settings fetchSettings, once bool, logger *slog.Logger) error {
	if settings.Processes == 0 && once {
		return nil
	}
	p, err := openPart(settings.PartSettings, logger)
	if err != nil {
		return err
	}
	p.once = once
	components, closeClients, err := p.fetchers(settings.FetchSettings)
	if err != nil {
		p.close()
		return err
	}
	defer closeClients()
	return p.run(ctx, server.Server{Components: components})
}

// fetchers returns the components that fetch documents, each of which has connections of its own.
func (p *part) fetchers(settings FetchSettings) (components []server.Component, closeClients func(), err error) {
	rules := &currency.Rules{
		Realm:             p.settings.Realm,
		DocumentExpiry:    settings.DocumentExpiry,
		ClaimExpiry:       settings.ClaimExpiry,
		MaxDistanceToBase: settings.MaxDistanceToBase,
		Logger:            p.logger,
	}
	if err := p.registry.Register(currency.NewCollector(rules, p.db)); err != nil {
		return nil, nil, err
	}
	roots, err := fetch.LoadRoots(settings.CertFile)
	if err != nil {
		return nil, nil, err
	}
	metrics := fetcher.NewMetrics(p.registry)
	var clients []*fetch.Client
	components = server.Copies(settings.Processes, server.Component{Name: "fetch_debtor_infos", EndsByItself: p.once})
	for i := range components[:settings.Processes] {
		client := fetch.NewClient(fetch.Config{
			MediaType:       coininfo.MediaType,
			Timeout:         settings.Timeout,
			Connections:     settings.Connections,
			HostConnections: settings.HostConnections,
			MaxBodyBytes:    settings.MaxBodyBytes,
			Roots:           roots,
			SkipVerify:      !settings.VerifyCerts,
			AllowPrivate:    settings.AllowPrivate(),
		})
		clients = append(clients, client)
		f := fetcher.New(fetcher.Config{
			DB:              p.db,
			Rules:           rules,
			Downloader:      client,
			Connections:     settings.Connections,
			HostConnections: settings.HostConnections,
			Timeout:         settings.Timeout,
			Burst:           settings.BurstCount,
			Period:          settings.Period,
			Listener:        p.listener(),
			Now:             time.Now,
			Random:          rand.Float64,
			Metrics:         metrics,
			Logger:          p.logger,
		})
		components[i].Run = f.Run
		if p.once {
			components[i].Run = f.RunOnce
		}
	}
	return components, func() {
		for _, client := range clients {
			client.Close()
		}
	}, nil
}
