package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A Variable is an environment variable, as operators know it.
type Variable struct {
	Name     string
	Group    string // the group of settings that it belongs to, such as "Flush"
	Format   string // "duration", "integer", "days" (a number of these), and so on
	Bounds   string // "at least 1"; empty if there are none
	Default  string // "$NAME-suffix" refers to the value of another variable; empty if there is none
	Required bool
	Doc      string // a few sentences on one line
}

// Variables lists all environment variables that the service reads.
func Variables() []Variable {
	return catalog().variables
}

// Lookup returns an environment variable by its name, and whether the service reads it. Commands use it for the help
// texts of flags.
func Lookup(name string) (Variable, bool) {
	variable, known := catalog().byName[name]
	return variable, known
}

// GroupDoc returns what a group of settings is for, on one line.
func GroupDoc(group string) string {
	return documentation[group]
}

type variableCatalog struct {
	variables []Variable
	byName    map[string]Variable
}

var catalog = sync.OnceValue(func() variableCatalog {
	c := variableCatalog{byName: map[string]Variable{}}
	fields, err := variablesOf(new(All))
	if err != nil {
		panic(err) // a declaration in this package is wrong, and no test has run
	}
	for _, v := range fields {
		c.variables = append(c.variables, v.Variable)
		c.byName[v.Name] = v.Variable
	}
	return c
})

// All has all settings. It is for showing them; commands compose their own.
type All struct {
	Log
	Status
	Localhost
	SolverDatabase `optional:"true"`
	WorkerDatabase `optional:"true"`
	Pools
	Collectors
	Owner
	Singleton
	Pegs
	CommitPeriod

	Turns
	BaseCurrency `optional:"true"`
	Clearing

	ProtocolBroker
	ProtocolConsumer
	InternalBroker
	InternalConsumer
	InternalMessages
	BrokerSetup
	Shard
	ParentShard
	ShardVerification
	Flush
	Bursts
	Fetch
	DebtorInfo
	WorkerTurns
	Pouring
	Accounts
	InterestRates
	Transfers
	Trigger
	PristineCollectors
	Silence
	AccountLocks
	Slacks
	Sweeps

	WebServer
	AdminAccess `optional:"true"`
}

// A variable is an environment variable on its way into a field of some settings.
type variable struct {
	Variable
	field    reflect.Value
	format   format
	unit     string
	bounds   string // for the validator
	missing  string // the reason to print if the variable is unset, but required
	unless   string // a boolean variable; if it is true, this one is not required
	optional bool   // the settings do without this variable if they have to
	unused   bool   // the settings have been narrowed, and do without this variable in any case

	text   string // as given, after substitutions; empty if the variable is unset
	origin Origin
	flag   string
	failed *VariableError
}

// partial is implemented by groups that can be narrowed to some of their fields.
type partial interface {
	uses(field reflect.StructField) bool
}

// asPartial returns the group if it is partial. Structs that only embed such a group, and so have its methods, are not.
func asPartial(group any) (partial, bool) {
	switch group := group.(type) {
	case Bursts:
		return group, true
	case Sweeps:
		return group, true
	default:
		return nil, false
	}
}

// variablesOf lists the variables of some settings in the order of their fields. The errors are mistakes in the
// declaration of the settings.
func variablesOf(settings any) ([]*variable, error) {
	value := reflect.ValueOf(settings)
	if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings have to be a pointer to a struct, not %T", settings)
	}
	var found []*variable
	if err := (place{}).collect(value.Elem(), &found); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, v := range found {
		if names[v.Name] {
			return nil, fmt.Errorf("settings have %s twice", v.Name)
		}
		names[v.Name] = true
	}
	return found, nil
}

// A place is what a field inherits from the fields that it lies in.
type place struct {
	group    string
	prefix   string
	days     string
	optional bool
	unused   bool
}

func (p place) collect(structure reflect.Value, found *[]*variable) error {
	narrowed, isPartial := asPartial(structure.Interface())
	for field, value := range structure.Fields() {
		inner := p
		inner.unused = p.unused || isPartial && !narrowed.uses(field)
		if name, ok := field.Tag.Lookup("env"); ok {
			v, err := inner.variable(structure.Type(), field, p.prefix+name)
			if err != nil {
				return err
			}
			v.field = value
			*found = append(*found, v)
			continue
		}
		if value.Kind() != reflect.Struct {
			continue
		}
		if !value.CanSet() {
			return fmt.Errorf("settings in %s cannot be set, because it is not exported", field.Name)
		}
		if err := inner.within(field).collect(value, found); err != nil {
			return err
		}
	}
	return nil
}

func (p place) within(field reflect.StructField) place {
	if p.group == "" && field.Type.PkgPath() == reflect.TypeFor[place]().PkgPath() {
		p.group = field.Type.Name()
	}
	p.prefix += field.Tag.Get("envPrefix")
	p.days += field.Tag.Get("days")
	p.optional = p.optional || field.Tag.Get("optional") == "true"
	return p
}

var errNoFormat = errors.New("no format for values of this type")

func (p place) variable(structure reflect.Type, field reflect.StructField, name string) (*variable, error) {
	fieldType := field.Type
	if fieldType.Kind() == reflect.Pointer {
		fieldType = fieldType.Elem()
	}
	format, ok := formats[fieldType]
	if !ok {
		return nil, fmt.Errorf("%s: %w: %v", name, errNoFormat, field.Type)
	}
	tag := field.Tag
	v := &variable{
		Variable: Variable{
			Name:     name,
			Group:    p.group,
			Format:   format.name,
			Default:  tag.Get("default"),
			Required: tag.Get("required") != "",
			Doc:      documentation[structure.Name()+"."+field.Name],
		},
		format:   format,
		unit:     tag.Get("unit"),
		bounds:   tag.Get("validate"),
		missing:  tag.Get("required"),
		unless:   tag.Get("unless"),
		optional: p.optional,
		unused:   p.unused,
	}
	if unit, ok := plainUnits[v.unit]; ok {
		v.Format = unit.name
		v.bounds = cmp.Or(v.bounds, "gte=0")
		v.Default = cmp.Or(v.Default, p.days)
	}
	v.Bounds = wordsOf(v.bounds, fieldType == reflect.TypeFor[time.Duration]() && v.unit == "")
	return v, nil
}

// wordsOf writes bounds, as in "gte=1,lte=9", so that they can be read after "must be".
func wordsOf(bounds string, inSeconds bool) string {
	limits := map[string]string{}
	for bound := range strings.SplitSeq(bounds, ",") {
		kind, limit, _ := strings.Cut(bound, "=")
		if inSeconds {
			limit += "s"
		}
		limits[kind] = limit
	}
	least, hasLeast := limits["gte"]
	most, hasMost := limits["lte"]
	exclusive, hasExclusive := limits["gt"]
	switch {
	case hasLeast && hasMost:
		return "between " + least + " and " + most
	case hasLeast:
		return "at least " + least
	case hasExclusive:
		return "greater than " + exclusive
	default:
		return ""
	}
}
