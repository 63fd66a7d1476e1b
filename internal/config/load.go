package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/go-playground/validator/v10"
)

// Input is where settings come from.
type Input struct {
	// Environment is a list of "NAME=value", as returned by os.Environ. The last one of a name counts.
	Environment []string
	// Flags are values given on the command line, by the variable that they override. The settings must have it.
	Flags map[string]Flag
	// DefaultGateway returns the address that replaces localhost where [Localhost] tells so, and whether there is one.
	// Programs use the function of the same name. Nil: nothing is replaced.
	DefaultGateway func() (netip.Addr, bool)
	// CheckDatabaseURL returns an error if nobody could connect with the URL of a database. Nil: only its scheme is
	// checked. It is given here because this package does not know how to connect.
	CheckDatabaseURL func(url string) error
}

// A Flag is an option of the command line that was given.
type Flag struct {
	Name  string // as people write it: "--processes"
	Value string
}

// Loaded is what else [Load] has to say.
type Loaded struct {
	Settings []Setting
	Warnings []Warning
}

// A Setting is a variable with its effective value.
type Setting struct {
	Variable
	Value  string // as it was given, but with passwords left out; empty if the variable is unset
	Origin Origin
	Flag   string // if it comes from one
}

// An Origin tells where a value comes from.
type Origin string

// Where values come from.
const (
	FromDefault     Origin = "default"
	FromEnvironment Origin = "environment"
	FromFlag        Origin = "flag"
	FromNowhere     Origin = "unset"
)

// A Warning tells of a setting that is legal, but hardly what anybody wants.
type Warning struct {
	Variable string
	Text     string
}

// LogWarnings logs what has to be warned of, a record each.
func (l *Loaded) LogWarnings(ctx context.Context, logger *slog.Logger) {
	for _, warning := range l.Warnings {
		logger.WarnContext(ctx, "questionable configuration",
			slog.String("variable", warning.Variable), slog.String("reason", warning.Text))
	}
}

// Errors is everything that is wrong with some settings.
type Errors []*VariableError

// Error returns a line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// Split returns the mistakes that were made on the command line apart from those in the environment. The first ones
// call for telling how the command is used.
func (e Errors) Split() (flags, variables Errors) {
	for _, err := range e {
		if err.Flag != "" {
			flags = append(flags, err)
		} else {
			variables = append(variables, err)
		}
	}
	return flags, variables
}

// Log logs each mistake as an error of its own.
func (e Errors) Log(ctx context.Context, logger *slog.Logger) {
	for _, err := range e {
		logger.ErrorContext(ctx, err.Error()) //nolint:sloglint // Log collectors look for this line, values included.
	}
}

// A VariableError tells what is wrong with the value of a variable, or with that of the flag that overrides it.
type VariableError struct {
	Variable string
	Flag     string // empty if the value does not come from a flag
	Reason   string
}

// Error returns "configuration error: VARIABLE: reason". For a flag, it is "--flag: reason".
func (e *VariableError) Error() string {
	if e.Flag != "" {
		return e.Flag + ": " + e.Reason
	}
	return "configuration error: " + e.Variable + ": " + e.Reason
}

// Load fills settings, a pointer to a struct that is composed of this package's groups. If something is wrong with the
// values, it returns [Errors], everything at once. Then, the settings that are wrong have their defaults, or are zero:
// enough to set up a log, so that the errors can be logged in the right form. Any other error is a mistake in the
// program, such as a flag for a variable that the settings do not have.
//
// A group that is embedded with the tag `optional:"true"` may lack what it otherwise requires.
func Load(settings any, input Input) (*Loaded, error) {
	variables, err := variablesOf(settings)
	if err != nil {
		return nil, err
	}
	l := loading{input: input, byName: map[string]*variable{}}
	for _, v := range variables {
		if !v.unused {
			l.variables = append(l.variables, v)
			l.byName[v.Name] = v
		}
	}
	for name, flag := range input.Flags {
		if l.byName[name] == nil {
			return nil, fmt.Errorf("flag %s overrides %s, which the settings do not have", flag.Name, name)
		}
	}
	l.environment = env.ToMap(input.Environment)
	substituteLocalhost(l.environment, input.DefaultGateway)
	for _, v := range variables {
		l.find(v)
	}
	if err := l.parse(settings, variables); err != nil {
		return nil, err
	}
	for _, v := range l.variables {
		l.check(v)
	}
	l.require()
	warnings := l.applyRules()
	return &Loaded{l.settings(), warnings}, l.errors()
}

// loading is one call of Load.
type loading struct {
	input       Input
	environment map[string]string
	variables   []*variable // without those that are not used
	byName      map[string]*variable
}

// find decides what the text of a variable is.
func (l *loading) find(v *variable) {
	flag, isFlag := l.input.Flags[v.Name]
	text, isSet := l.environment[v.Name]
	switch {
	case v.unused:
		v.origin, v.text = FromDefault, v.Default
	case isFlag:
		v.origin, v.text, v.flag = FromFlag, flag.Value, flag.Name
	case isSet && (text != "" || v.format.emptyIsValue):
		v.origin, v.text = FromEnvironment, text
	case v.Default != "":
		v.origin, v.text = FromDefault, l.expand(v.Default)
	default:
		v.origin = FromNowhere
	}
}

var reference = regexp.MustCompile(`^\$([A-Z_]+)`)

// expand replaces a reference to another text variable at the beginning of a default. The settings need not have it.
func (l *loading) expand(text string) string {
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		name := match[1:]
		if flag, ok := l.input.Flags[name]; ok {
			return flag.Value
		}
		if value, ok := l.environment[name]; ok {
			return value
		}
		known, _ := Lookup(name)
		return known.Default
	})
}

// emptyText stands for an empty value, because the env library takes an empty text for an unset variable. No variable
// can contain it.
const emptyText = "\x00"

// parse sets the fields.
func (l *loading) parse(settings any, variables []*variable) error {
	texts := map[string]string{}
	byName := map[string]*variable{}
	for _, v := range variables {
		byName[v.Name] = v
		switch {
		case v.origin == FromNowhere:
			v.field.SetZero()
		case v.text == "":
			texts[v.Name] = emptyText
		default:
			texts[v.Name] = v.text
		}
	}
	var current *variable // the library tells parsers only the text, but before it calls one, it calls OnSet
	parsers := map[reflect.Type]env.ParserFunc{}
	for valueType, format := range formats {
		parsers[valueType] = func(text string) (any, error) {
			if text == emptyText {
				text = ""
			}
			value, err := format.parse(text, current.unit)
			if err != nil {
				current.fail(err.Error())
			}
			return value, err
		}
	}
	err := env.ParseWithOptions(settings, env.Options{
		Environment: texts,
		FuncMap:     parsers,
		OnSet:       func(name string, _ any, _ bool) { current = byName[name] },
	})
	return unexpected(err)
}

// unexpected returns those errors of the env library that are not about values: these are known already.
func unexpected(err error) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return err
	}
	var others []error
	for _, err := range all.Errors {
		if !errors.As(err, new(env.ParseError)) {
			others = append(others, err)
		}
	}
	return errors.Join(others...)
}

func (v *variable) fail(reason string) {
	v.failed = &VariableError{Variable: v.Name, Flag: v.flag, Reason: reason}
}

var validate = validator.New()

// check compares a value with its bounds, and gives it the default if it is not valid.
func (l *loading) check(v *variable) {
	switch {
	case v.origin == FromNowhere:
		return
	case v.failed != nil:
	case v.bounds != "" && validate.Var(v.measure(), v.bounds) != nil:
		v.fail(v.boundsReason())
	case v.field.Type() == reflect.TypeFor[DatabaseURL]() && l.input.CheckDatabaseURL != nil:
		if l.input.CheckDatabaseURL(v.field.String()) != nil {
			v.fail(errURL.Error())
		}
	}
	if v.failed != nil {
		v.reset(l.expand(v.Default))
	}
}

// measure returns the value for comparison with its bounds.
func (v *variable) measure() any {
	value := reflect.Indirect(v.field)
	if duration, ok := value.Interface().(time.Duration); ok {
		unit := time.Second
		if plain, ok := plainUnits[v.unit]; ok {
			unit = plain.duration
		}
		return float64(duration) / float64(unit)
	}
	return value.Interface()
}

func (v *variable) boundsReason() string {
	if v.Bounds == "" { // the value is empty, or 0, and may not be
		return cmp.Or(v.missing, "missing")
	}
	return "must be " + v.Bounds
}

func (v *variable) reset(text string) {
	v.field.SetZero()
	if text == "" {
		return
	}
	if value, err := v.format.parse(text, v.unit); err == nil {
		v.field.Set(reflect.ValueOf(value))
	}
}

// require looks for variables that are unset, but have to be set.
func (l *loading) require() {
	for _, v := range l.variables {
		if v.origin != FromNowhere || !v.Required || v.optional {
			continue
		}
		if other := l.byName[v.unless]; other != nil && (other.failed != nil || other.field.Bool()) {
			continue
		}
		v.fail(v.missing)
	}
}

func (l *loading) settings() []Setting {
	settings := make([]Setting, len(l.variables))
	for i, v := range l.variables {
		settings[i] = Setting{Variable: v.Variable, Value: v.text, Origin: v.origin, Flag: v.flag}
		if v.format.secret {
			settings[i].Value = redact(v.text)
		}
	}
	return settings
}

func (l *loading) errors() error {
	var errs Errors
	for _, v := range l.variables {
		if v.failed != nil {
			errs = append(errs, v.failed)
		}
	}
	if errs == nil {
		return nil
	}
	return errs
}
