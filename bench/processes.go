package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/circular-trade/circular-trade/internal/postgres"
)

// A team is a process, or several that work together.
type team struct {
	name         string
	process      int  // the first one of them
	withChildren bool // and all that it has started
}

// servers returns the teams of PostgreSQL and RabbitMQ. They have to be on this machine.
func servers(ctx context.Context) ([]team, error) {
	postmaster, err := postmaster(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for the processes of PostgreSQL: %w", err)
	}
	node, err := brokerProcess(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for the process of RabbitMQ: %w", err)
	}
	return []team{{"PostgreSQL", postmaster, true}, {"RabbitMQ", node, true}}, nil
}

// postmaster returns the process that has started those of PostgreSQL.
func postmaster(ctx context.Context) (int, error) {
	url, err := postgres.ParseURL(os.Getenv("TEST_POSTGRES_URL"))
	if err != nil {
		return 0, err
	}
	conn, err := postgres.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }() // it is not needed any more
	var backend int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return 0, err
	}
	all, err := readProcesses()
	if err != nil {
		return 0, err
	}
	if all[backend].name != "postgres" {
		return 0, fmt.Errorf("process %d is not PostgreSQL: is the server on this machine?", backend)
	}
	return all[backend].parent, nil
}

// brokerProcess returns the process of RabbitMQ. A broker that has just started does not know it for some seconds.
func brokerProcess(ctx context.Context) (int, error) {
	const often, patience = 250 * time.Millisecond, 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		answer, err := askBroker(ctx, "GET", []string{"nodes"}, nil)
		if err != nil {
			return 0, err
		}
		var nodes []struct {
			Process string `json:"os_pid"`
		}
		if err := json.Unmarshal(answer, &nodes); err != nil {
			return 0, err
		}
		if len(nodes) > 0 && nodes[0].Process != "" {
			return strconv.Atoi(nodes[0].Process)
		}
		select {
		case <-time.After(often):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// A process is what the kernel tells of a process.
type process struct {
	name   string
	parent int
	cpu    time.Duration // of itself
	ended  time.Duration // of those children that have ended
}

// readProcesses returns all processes by ID.
func readProcesses() (map[int]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("measuring processes works on Linux only: %w", err)
	}
	all := make(map[int]process, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		if all[id], err = parseProcess(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return all, nil
}

// parseProcess reads a line as described in proc(5).
func parseProcess(line string) (p process, err error) {
	const tick = 10 * time.Millisecond // on all architectures that matter
	before, after, _ := strings.Cut(line, "(")
	i := strings.LastIndexByte(after, ')')
	if before == "" || i < 0 {
		return p, fmt.Errorf("not understood: %q", line)
	}
	p.name = after[:i]
	fields := strings.Fields(after[i+1:])
	const parent, userTime, systemTime, childrenUserTime, childrenSystemTime = 1, 11, 12, 13, 14
	if len(fields) <= childrenSystemTime {
		return p, fmt.Errorf("not understood: %q", line)
	}
	number := func(field int) (n int) {
		if err == nil {
			n, err = strconv.Atoi(fields[field])
		}
		return n
	}
	p.parent = number(parent)
	p.cpu = time.Duration(number(userTime)+number(systemTime)) * tick
	p.ended = time.Duration(number(childrenUserTime)+number(childrenSystemTime)) * tick
	return p, err
}

// members returns the IDs of the processes of a team.
func (t team) members(all map[int]process) []int {
	ids := []int{t.process}
	if !t.withChildren {
		return ids
	}
	for i := 0; i < len(ids); i++ {
		for id, p := range all {
			if p.parent == ids[i] {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// cpu returns how long processors have been at work for a team so far.
func (t team) cpu(all map[int]process) (total time.Duration) {
	for _, id := range t.members(all) {
		total += all[id].cpu
		if t.withChildren {
			total += all[id].ended
		}
	}
	return total
}

// memory returns how much memory a team has, in bytes: what each process has for itself, and once what they share, which
// is what the one with the most of it has.
func (t team) memory(all map[int]process) (total float64) {
	var files, shared float64
	for _, id := range t.members(all) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
		if err != nil {
			continue // it has just ended
		}
		part := func(name string) float64 {
			bytes, _ := kilobytes(string(status), name) // what has ended, and nobody has asked how, has none
			return bytes
		}
		total += part("RssAnon:")
		files, shared = max(files, part("RssFile:")), max(shared, part("RssShmem:"))
	}
	return total + files + shared
}

// A meter looks at teams again and again, until it is stopped.
type meter struct {
	mu      sync.Mutex
	teams   map[string]team
	peaks   map[string]float64 // of memory, in bytes
	failure error

	stop  chan struct{}
	ended chan struct{}
}

func newMeter(teams []team) *meter {
	m := &meter{
		teams: map[string]team{}, peaks: map[string]float64{}, stop: make(chan struct{}), ended: make(chan struct{}),
	}
	m.add(teams...)
	go m.run()
	return m
}

func (m *meter) run() {
	defer close(m.ended)
	const often = 2 * time.Second // there may be many processes
	for {
		m.look()
		select {
		case <-time.After(often):
		case <-m.stop:
			return
		}
	}
}

func (m *meter) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, err := readProcesses()
	if err != nil {
		m.failure = err
		return
	}
	for name, t := range m.teams {
		m.peaks[name] = max(m.peaks[name], t.memory(all))
	}
}

// add has the meter look at further teams.
func (m *meter) add(teams ...team) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range teams {
		m.teams[t.name] = t
	}
}

// cpu returns how long processors have been at work for each team so far.
func (m *meter) cpu() map[string]time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, err := readProcesses()
	if err != nil {
		m.failure = err
	}
	times := make(map[string]time.Duration, len(m.teams))
	for name, t := range m.teams {
		times[name] = t.cpu(all)
	}
	return times
}

// close ends the meter, and returns the largest amounts of memory that it has seen, in bytes.
func (m *meter) close() (peaks map[string]float64, err error) {
	close(m.stop)
	<-m.ended
	return m.peaks, m.failure
}
