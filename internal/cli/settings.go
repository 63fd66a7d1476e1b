package cli

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/logging"
	"github.com/circular-trade/circular-trade/internal/postgres"
)

// errConfiguration tells that settings are wrong. Which ones and why is in the log by then.
var errConfiguration = errors.New("the configuration is not valid")

// overridden is the annotation of a flag that names the variable which the flag overrides.
const overridden = "overridden variable"

// OverrideFlag declares a flag that overrides a variable. What is given is parsed along with the variables, so all flags
// are strings here.
func OverrideFlag(cmd *cobra.Command, name, shorthand, variable string) {
	known, found := config.Lookup(variable)
	if !found {
		panic("there is no variable " + variable)
	}
	cmd.Flags().StringP(name, shorthand, "", fmt.Sprintf("%s (overrides %s)", known.Doc, variable))
	if err := cmd.Flags().SetAnnotation(name, overridden, []string{variable}); err != nil {
		panic(err) // the flag has just been declared
	}
}

// Common is what all commands of the service need to know. It is a part of their settings.
type Common struct {
	config.Log
	config.Localhost
}

// configInput returns where settings come from, without flags.
func configInput(environment []string) config.Input {
	return config.Input{
		Environment:    environment,
		Flags:          map[string]config.Flag{},
		DefaultGateway: config.DefaultGateway,
		CheckDatabaseURL: func(url string) error {
			_, err := postgres.ParseURL(url)
			return err
		},
	}
}

// LoadSettings fills in the settings of a command from the environment and its flags. The logger is made as settings.Log,
// which log points to, says. Mistakes in flags are a usage error; mistakes in variables are logged.
func LoadSettings(cmd *cobra.Command, environment []string, settings any, log *config.Log) (*slog.Logger, error) {
	input := configInput(environment)
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if variables := flag.Annotations[overridden]; len(variables) == 1 {
			input.Flags[variables[0]] = config.Flag{Name: "--" + flag.Name, Value: flag.Value.String()}
		}
	})
	loaded, err := config.Load(settings, input)
	logger := slog.New(logging.NewHandler(cmd.OutOrStdout(), logging.Options{
		Level: log.Level,
		JSON:  log.Format == config.LogJSON,
	}))
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		badFlags, badVariables := mistakes.Split()
		badVariables.Log(cmd.Context(), logger)
		if len(badFlags) > 0 {
			return nil, UsageErrorf("%v", badFlags)
		}
		return nil, errConfiguration
	}
	if err != nil {
		return nil, err
	}
	loaded.LogWarnings(cmd.Context(), logger)
	return logger, nil
}
