package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/oauth"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/server"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// webServerSettings are those of the web server.
type webServerSettings struct {
	Common
	config.Status
	config.SolverDatabase
	config.Pools
	config.Collectors
	config.Owner
	config.WebServer
	config.AdminAccess
}

const webServerName = "webserver"

// NewWebServerCommand returns the command that serves the admin API.
func NewWebServerCommand(environment []string) *cobra.Command {
	return &cobra.Command{
		Use:   webServerName,
		Short: "Serve the admin API",
		Long: `Serves the admin API, until it is stopped. It does not need the database to be there: requests that do get an
error meanwhile. If it turns out that others use the database with other collector IDs, it ends. There may be any number
of web servers.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings webServerSettings
			logger, err := LoadSettings(cmd, environment, &settings, &settings.Log)
			if err != nil {
				return err
			}
			return runWebServer(cmd.Context(), &settings, logger)
		},
	}
}

// runWebServer serves the admin API until the process is asked to end.
func runWebServer(ctx context.Context, settings *webServerSettings, logger *slog.Logger) error {
	registry := prometheus.NewRegistry()
	url, err := postgres.ParseURL(string(settings.SolverDatabase.URL))
	if err != nil {
		return err
	}
	db, err := solverdb.Open(url, poolOptions(settings.Pools, settings.PoolSize, registry))
	if err != nil {
		return err
	}
	process := server.Server{
		Supervise: true,
		Checks: []server.Check{{Name: "solver database", Answers: func(ctx context.Context) error {
			return migrated(ctx, db.Migrated)
		}}},
		Registry: registry,
		Logger:   logger,
	}
	if settings.Status.Port != 0 {
		process.StatusAddress = fmt.Sprintf(":%d", settings.Status.Port)
	}
	process.Components, err = settings.components(db, registry, logger)
	if err == nil {
		err = process.Run(ctx)
	}
	if !errors.Is(err, server.ErrNotStopped) && !errors.Is(err, server.ErrInterrupted) {
		db.Close() // otherwise this would wait for those who still use it
	}
	return err
}

// components returns the server of the API, or if there are to be no processes, one that does nothing.
func (s *webServerSettings) components(
	db *solverdb.DB, registry *prometheus.Registry, logger *slog.Logger,
) ([]server.Component, error) {
	if s.Processes == 0 {
		return server.Copies(0, server.Component{Name: webServerName}), nil
	}
	concurrent := s.Processes * s.Threads
	claim := s.claim(db, logger)
	made := adminapi.Config{
		DB:          db,
		Pool:        collector.Pool{First: s.MinID, Last: s.MaxID},
		ClaimPool:   claim,
		Unprotected: s.Unprotected,
		Identities: adminapi.Identities{
			Superusers: s.Superusers(), Supervisors: s.Supervisors(), Creditors: s.Creditors(), Owner: s.Owner.CreditorID,
		},
		Limits:    adminapi.DefaultLimits(concurrent),
		SwaggerUI: string(s.SwaggerUIURL),
		Metrics:   adminapi.NewMetrics(registry),
		Logger:    logger,
		Now:       time.Now,
	}
	if !s.Unprotected {
		tokens, err := oauth.NewIntrospector(oauth.Config{
			URL: string(s.IntrospectURL), MaxConnections: concurrent, Now: time.Now, Metrics: oauth.NewMetrics(registry),
		})
		if err != nil {
			return nil, err
		}
		made.Tokens = tokens
	}
	api, err := adminapi.New(made)
	if err != nil {
		return nil, err
	}
	return []server.Component{
		{Name: webServerName, Run: func(ctx context.Context) error {
			if made.Tokens != nil {
				defer made.Tokens.Close()
			}
			return api.ListenAndServe(ctx, fmt.Sprintf(":%d", s.WebServer.Port))
		}},
		{Name: "collector_ids", EndsByItself: true, Run: func(ctx context.Context) error {
			return awaitClaim(ctx, claim, logger)
		}},
	}, nil
}

// claim returns a function that looks whether the database is used with the same collector IDs, until that has succeeded.
func (s *webServerSettings) claim(db *solverdb.DB, logger *slog.Logger) func(context.Context) error {
	var claimed atomic.Bool
	return func(ctx context.Context) error {
		if claimed.Load() {
			return nil
		}
		if err := claimCollectors(ctx, db, s.Collectors, logger); err != nil {
			return err
		}
		claimed.Store(true)
		return nil
	}
}

// claimPause is between two attempts to compare the collector IDs.
const claimPause = time.Second

// awaitClaim calls claim until the database answers, and has been migrated. It tells what it waits for: first the one,
// then the other.
func awaitClaim(ctx context.Context, claim func(context.Context) error, logger *slog.Logger) error {
	told := make(map[bool]bool)
	for {
		err := claim(ctx)
		answers := errors.Is(err, ErrNotMigrated)
		if err == nil || !answers && !postgres.IsUnreachable(err) {
			return err
		}
		if !told[answers] {
			logger.WarnContext(ctx, "waiting for the solver database", slog.Any("reason", err))
			told[answers] = true
		}
		select {
		case <-time.After(claimPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
