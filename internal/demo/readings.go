package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/world"
)

// A locking is how far workers have got with locking what candidate offers are about.
type locking struct {
	allOffered bool // all workers have made their candidate offers
	prepared   int
}

func (s *stores) locking(ctx context.Context) (l locking, err error) {
	l.allOffered = true
	for _, db := range s.workers {
		offered, prepared := false, 0
		const query = `
			SELECT
				(SELECT count(*) > 0 FROM worker_turn WHERE phase = 2 AND subphase = 5),
				(SELECT count(*) FROM account_lock WHERE transfer_id IS NOT NULL)`
		if err := db.Pool().QueryRow(ctx, query).Scan(&offered, &prepared); err != nil {
			return l, err
		}
		l.allOffered, l.prepared = l.allOffered && offered, l.prepared+prepared
	}
	return l, nil
}

func (s *stores) phase2Deadline(ctx context.Context) (deadline time.Time, err error) {
	err = s.solver.Pool().QueryRow(ctx, `SELECT phase_deadline FROM turn WHERE phase = 2`).Scan(&deadline)
	return deadline, err
}

// hasten has phase 2 end as soon as workers have had enough time to write their offers, and returns when that is.
func (s *stores) hasten(ctx context.Context, scenario *world.Scenario) (deadline time.Time, err error) {
	const perOffer, least = 100 * time.Microsecond, 3 * time.Second
	accounts, _ := wanted(scenario)
	deadline = time.Now().Add(least + time.Duration(accounts)*perOffer)
	for _, db := range s.workers {
		if _, err := db.Pool().Exec(ctx, `UPDATE worker_turn SET phase_deadline = $1 WHERE phase = 2`, deadline); err != nil {
			return deadline, err
		}
	}
	_, err = s.solver.Pool().Exec(ctx, `UPDATE turn SET phase_deadline = $1 WHERE phase = 2`, deadline)
	return deadline, err
}

// published returns when the results of the turn were published, and how many offers there had been.
func (s *stores) published(ctx context.Context) (at time.Time, offers int, err error) {
	const query = `SELECT published_at, sell_offers + buy_offers FROM trade_turn_summary WHERE failure IS NULL`
	err = s.solver.Pool().QueryRow(ctx, query).Scan(&at, &offers)
	return at, offers, err
}

// lastArrival returns when a worker has heard of the last token that has arrived.
func (s *stores) lastArrival(ctx context.Context) (at time.Time, err error) {
	for _, db := range s.workers {
		var latest *time.Time
		if err := db.Pool().QueryRow(ctx, `SELECT max(released_at) FROM account_lock`).Scan(&latest); err != nil {
			return at, err
		}
		if latest != nil && latest.After(at) {
			at = *latest
		}
	}
	return at, nil
}

// processes returns the process IDs of all that run.
func (f *fleet) processes() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make(map[string]int, len(f.crew))
	for name, p := range f.crew {
		ids[name] = p.cmd.Process.Pid
	}
	return ids
}

// total returns the sum of some metrics of all workers.
func (f *fleet) total(ctx context.Context, metrics ...string) (total int64, err error) {
	for i := range f.shards {
		text, err := get(ctx, f.specs[workerProcess(i)].statusURL+"/metrics")
		if err != nil {
			return 0, err
		}
		sum, err := sumMetrics(text, metrics)
		if err != nil {
			return 0, err
		}
		total += int64(sum)
	}
	return total, nil
}

func get(ctx context.Context, url string) (text string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	return string(body), errors.Join(err, response.Body.Close())
}

// sumMetrics adds up the values of metrics in the text format of Prometheus, whose lines begin with some prefixes.
func sumMetrics(text string, prefixes []string) (sum float64, err error) {
	for line := range strings.Lines(text) {
		for _, prefix := range prefixes {
			if !strings.HasPrefix(line, prefix) {
				continue
			}
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				return 0, fmt.Errorf("reading the metric %s: %w", prefix, err)
			}
			sum += value
		}
	}
	return sum, nil
}
