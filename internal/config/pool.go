package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// PoolOptions limit a pool of database connections, in the words of SQLAlchemy, and with its defaults for options that
// are not given.
type PoolOptions struct {
	// Size is the number of connections that are kept. 0, also if not given: there is no limit.
	Size int
	// MaxOverflow is the number of connections that are made in addition, when all are in use. -1: there is no limit.
	MaxOverflow int
	// Timeout is how long to wait for a connection when there may not be another one.
	Timeout time.Duration
	// Recycle is the age at which connections are replaced by new ones. 0: they are not.
	Recycle time.Duration

	ignored []string // names of the other options
}

// MaxConnections returns how many connections there can be, at most. 0: there is no limit.
func (o PoolOptions) MaxConnections() int {
	if o.Size == 0 || o.MaxOverflow < 0 {
		return 0
	}
	return o.Size + o.MaxOverflow
}

// mostConnections is more than any server has, and far from what an addition could make overflow.
const mostConnections = 1_000_000

func parsePoolOptions(text string) (PoolOptions, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &given); err != nil || given == nil {
		return PoolOptions{}, notA(text, `a JSON object, as in {"pool_size": 0}`)
	}
	size, maxOverflow, timeout, recycle := 0.0, 10.0, 30.0, -1.0
	for _, option := range []struct {
		name    string
		value   *float64
		min     float64
		max     float64
		integer bool
	}{
		{"pool_size", &size, 0, mostConnections, true},
		{"max_overflow", &maxOverflow, -1, mostConnections, true},
		{"pool_timeout", &timeout, 0, longestDuration.Seconds(), false},
		{"pool_recycle", &recycle, -1, longestDuration.Seconds(), false},
	} {
		if err := readOption(given[option.name], option.value); err != nil || *option.value < option.min ||
			*option.value > option.max || option.integer && *option.value != float64(int(*option.value)) {
			return PoolOptions{}, fmt.Errorf("%q: %s must be %s from %.0f to %.0f",
				text, option.name, kindOfNumber(option.integer), option.min, option.max)
		}
		delete(given, option.name)
	}
	return PoolOptions{
		Size:        int(size),
		MaxOverflow: int(maxOverflow),
		Timeout:     seconds(timeout),
		Recycle:     seconds(max(recycle, 0)),
		ignored:     slices.Sorted(maps.Keys(given)),
	}, nil
}

func readOption(text json.RawMessage, value *float64) error {
	if text == nil {
		return nil
	}
	return json.Unmarshal(text, value)
}

func kindOfNumber(integer bool) string {
	if integer {
		return "an integer"
	}
	return "a number"
}

func seconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Second))
}
