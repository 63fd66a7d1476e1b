package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/diagnosis"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/swpt"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// currenciesSettings are those of the command that explains currencies. Each database that is not set is not asked.
type currenciesSettings struct {
	Common
	config.SolverDatabase `optional:"true"`
	config.WorkerDatabase `optional:"true"`
	config.BaseCurrency   `optional:"true"`
	config.Shard
	config.DebtorInfo
	config.Pegs
}

func newCurrenciesCommand(environment []string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "currencies [DEBTOR_ID...]",
		Short: "Tell why currencies can, or cannot, be traded",
		Long: `Tells of currencies, or of all that are known, whether they can be traded, and if not why: the debtor is
not known, or not confirmed; a document has not been fetched; the pegs do not lead to the base currency, or it is too
far away; no collector is active; and so on. It asks those databases whose URLs are set, the worker's and the solver's,
and changes nothing.

The base currency is that of the newest turn, unless BASE_DEBTOR_ID and BASE_DEBTOR_INFO_LOCATOR are set.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			debtors := make([]swpt.DebtorID, len(args))
			for i, arg := range args {
				id, err := swpt.ParseID(arg)
				if err != nil {
					return usageErrorf("%v", err)
				}
				debtors[i] = swpt.DebtorID(id)
			}
			out := cmd.OutOrStdout()
			cmd.SetOut(cmd.ErrOrStderr()) // what is logged must not get into the report
			var settings currenciesSettings
			if _, err := loadSettings(cmd, environment, &settings, &settings.Log); err != nil {
				return err
			}
			now := time.Now()
			report, err := explainCurrencies(cmd.Context(), settings, now, debtors)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(out)
				encoder.SetIndent("", "  ")
				return encoder.Encode(report)
			}
			return report.Print(out, now)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func explainCurrencies(
	ctx context.Context, settings currenciesSettings, now time.Time, debtors []swpt.DebtorID,
) (diagnosis.Report, error) {
	var none diagnosis.Report
	if settings.SolverDatabase.URL == "" && settings.WorkerDatabase.URL == "" {
		return none, errors.New("there is no database to ask: set WORKER_POSTGRES_URL, SOLVER_POSTGRES_URL, or both")
	}
	var worker *workerdb.DB
	var solver *solverdb.DB
	if url := settings.WorkerDatabase.URL; url != "" {
		parsed, err := postgres.ParseURL(string(url))
		if err != nil {
			return none, fmt.Errorf("WORKER_POSTGRES_URL: %w", err)
		}
		if worker, err = workerdb.Open(parsed, postgres.Options{}); err != nil {
			return none, err
		}
		defer worker.Close()
	}
	if url := settings.SolverDatabase.URL; url != "" {
		parsed, err := postgres.ParseURL(string(url))
		if err != nil {
			return none, fmt.Errorf("SOLVER_POSTGRES_URL: %w", err)
		}
		if solver, err = solverdb.Open(parsed, postgres.Options{}); err != nil {
			return none, err
		}
		defer solver.Close()
	}
	var base *diagnosis.Base
	if settings.Locator != "" && settings.BaseCurrency.DebtorID != 0 {
		base = &diagnosis.Base{
			Locator: settings.Locator, DebtorID: settings.BaseCurrency.DebtorID,
			MaxDistance: settings.MaxDistanceToBase,
		}
	}
	rules := &currency.Rules{
		Realm: settings.Realm, DocumentExpiry: settings.DocumentExpiry, ClaimExpiry: settings.ClaimExpiry,
	}
	known, err := diagnosis.Load(ctx, worker, solver, base, rules, now)
	if err != nil {
		return none, err
	}
	return diagnosis.Explain(known, debtors...), nil
}
