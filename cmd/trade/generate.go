package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/circular-trade/circular-trade/internal/book"
)

func newGenerateCommand() *cobra.Command {
	var out string
	var shape book.Synthetic
	cmd := &cobra.Command{
		Use:   "generate --out DIR",
		Short: "Make up an offer book",
		Long: `Writes an offer book that is made up, to try 'trade solve' with: a tree of pegged currencies, some of
them far more popular than others, and traders with one to three sell and buy offers each. A book has about four
offers a trader. The same numbers give the same book.`,
		Example: "  trade generate --out book --currencies 1000 --traders 50000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shape.Validate(); err != nil {
				return usageErrorf("%v", err)
			}
			return runGenerate(cmd.Context(), out, shape, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&out, "out", "", "`DIR` to write the book to, made if missing")
	flags.IntVar(&shape.Currencies, "currencies", 100, "number `N` of currencies")
	flags.IntVar(&shape.Traders, "traders", 5000, "number `N` of traders")
	flags.Int64Var(&shape.Seed, "seed", 1, "seed `S` of the random numbers")
	mustMarkRequired(cmd, "out")
	return cmd
}

func runGenerate(ctx context.Context, out string, shape book.Synthetic, stdout io.Writer) (err error) {
	var staging book.Staging
	defer func() { err = errors.Join(err, staging.Discard()) }()
	size, err := book.Generate(ctx, &staging, out, shape)
	if err != nil {
		return fmt.Errorf("making up an offer book: %w", err)
	}
	if err := staging.Commit(); err != nil {
		return fmt.Errorf("making up an offer book: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s: %s currencies, %s collectors, %s sell offers, %s buy offers\n", out,
		humanize.Comma(int64(size.Currencies)), humanize.Comma(int64(size.Collectors)),
		humanize.Comma(int64(size.Sells)), humanize.Comma(int64(size.Buys)))
	return err
}
