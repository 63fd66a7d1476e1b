package main

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
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/shard"
)

// fetchSettings are those of the command that fetches documents.
type fetchSettings struct {
	ComponentSettings
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
			logger, err := loadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return fetchDebtorInfos(cmd.Context(), settings, quitEarly, logger)
		},
	}
	overrideFlag(cmd, "processes", "p", "HTTP_FETCH_PROCESSES")
	overrideFlag(cmd, "connections", "c", "HTTP_FETCH_CONNECTIONS")
	overrideFlag(cmd, "timeout", "t", "HTTP_FETCH_TIMEOUT")
	overrideFlag(cmd, "wait", "w", "HTTP_FETCH_PERIOD")
	cmd.Flags().BoolVar(&quitEarly, "quit-early", false, "end when everything that is due has been fetched once")
	return cmd
}

// currencyRules returns the rules about currencies. Messages and pegs have further settings.
func currencyRules(realm shard.Realm, info config.DebtorInfo, logger *slog.Logger) *currency.Rules {
	return &currency.Rules{
		Realm: realm, DocumentExpiry: info.DocumentExpiry, ClaimExpiry: info.ClaimExpiry, Logger: logger,
	}
}

// fetchDebtorInfos fetches documents until the process is asked to end, or only once.
func fetchDebtorInfos(ctx context.Context, settings fetchSettings, once bool, logger *slog.Logger) error {
	const name = "fetch_debtor_infos"
	if settings.Processes == 0 && once {
		return nil
	}
	c, err := openComponent(settings.ComponentSettings, logger)
	if err != nil {
		return err
	}
	rules := currencyRules(settings.Realm, settings.DebtorInfo, logger)
	rules.MaxDistanceToBase = settings.MaxDistanceToBase
	if err := c.registry.Register(currency.NewCollector(rules, c.db)); err != nil {
		c.db.Close()
		return err
	}
	if settings.Processes == 0 {
		return c.run(ctx, server.Copies(0, server.Component{Name: name}))
	}
	listener := postgres.NewListener(c.db.URL(), logger)
	components, closeClients, err := newFetchers(c, settings, rules, listener, once)
	if err != nil {
		c.db.Close()
		return err
	}
	defer closeClients()
	if !once {
		components = append(components, server.Component{Name: "listener", Run: listener.Run})
	}
	return c.run(ctx, components)
}

// newFetchers returns the fetchers, each of which has connections of its own.
func newFetchers(
	c *component, settings fetchSettings, rules *currency.Rules, listener *postgres.Listener, once bool,
) (components []server.Component, closeClients func(), err error) {
	roots, err := fetch.LoadRoots(settings.CertFile)
	if err != nil {
		return nil, nil, err
	}
	metrics := fetcher.NewMetrics(c.registry)
	var clients []*fetch.Client
	components = server.Copies(settings.Processes, server.Component{Name: "fetch_debtor_infos", EndsByItself: once})
	for i := range components {
		client := fetch.NewClient(fetch.Config{
			MediaType:       coininfo.MediaType,
			Timeout:         settings.Fetch.Timeout,
			Connections:     settings.Connections,
			HostConnections: settings.HostConnections,
			MaxBodyBytes:    settings.MaxBodyBytes,
			Roots:           roots,
			SkipVerify:      !settings.VerifyCerts,
			AllowPrivate:    settings.AllowPrivate(),
		})
		clients = append(clients, client)
		f := fetcher.New(fetcher.Config{
			DB:              c.db,
			Rules:           rules,
			Downloader:      client,
			Connections:     settings.Connections,
			HostConnections: settings.HostConnections,
			Timeout:         settings.Fetch.Timeout,
			Burst:           settings.BurstCount,
			Period:          settings.Period,
			Listener:        listener,
			Now:             time.Now,
			Random:          rand.Float64,
			Metrics:         metrics,
			Logger:          c.logger,
		})
		components[i].Run = f.Run
		if once {
			components[i].Run = f.RunOnce
		}
	}
	return components, func() {
		for _, client := range clients {
			client.Close()
		}
	}, nil
}
