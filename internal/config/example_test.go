package config_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/logging"
)

// A command declares which flags override which variables, and takes their help texts from the variables.
func Example() {
	type flushSettings struct {
		config.Log
		config.Flush
		config.ProtocolBroker
	}
	overrides := map[string]string{"processes": "FLUSH_PROCESSES", "wait": "FLUSH_PERIOD"}

	var settings flushSettings
	command := &cobra.Command{
		Use:           "flush_all",
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			input := config.Input{
				Environment: []string{"APP_LOG_FORMAT=json", "PROTOCOL_BROKER_URL=amqp://guest:secret@host:port"}, // os.Environ()
				Flags:       map[string]config.Flag{},
			}
			cmd.Flags().Visit(func(flag *pflag.Flag) {
				input.Flags[overrides[flag.Name]] = config.Flag{Name: "--" + flag.Name, Value: flag.Value.String()}
			})
			loaded, err := config.Load(&settings, input)
			logger := newLogger(os.Stdout, settings.Log)
			var mistakes config.Errors
			if errors.As(err, &mistakes) {
				badFlags, badVariables := mistakes.Split()
				badVariables.Log(cmd.Context(), logger)
				if len(badFlags) > 0 {
					return badFlags // a usage error: exit status 2
				}
				return errors.New("the configuration is not valid") // exit status 1
			}
			if err != nil {
				return err
			}
			loaded.LogWarnings(cmd.Context(), logger)
			return nil
		},
	}
	for flag, variable := range overrides {
		known, _ := config.Lookup(variable)
		command.Flags().StringP(flag, flag[:1], "", fmt.Sprintf("%s (overrides %s)", known.Doc, variable))
	}

	command.SetArgs([]string{"--processes", "two"})
	fmt.Println("error:", command.ExecuteContext(context.Background()))
	// Output:
	// {"levelname":"ERROR","name":"trade","message":"configuration error: PROTOCOL_BROKER_URL: not a valid URL"}
	// error: --processes: "two" is not an integer
}

func newLogger(output io.Writer, log config.Log) *slog.Logger {
	handler := logging.NewHandler(output, logging.Options{Level: log.Level, JSON: log.Format == config.LogJSON})
	return slog.New(withoutTime{handler})
}

// withoutTime makes the output of the example always the same.
type withoutTime struct{ slog.Handler }

func (h withoutTime) Handle(ctx context.Context, record slog.Record) error {
	return h.Handler.Handle(ctx, slog.NewRecord(slog.Record{}.Time, record.Level, record.Message, 0))
}
