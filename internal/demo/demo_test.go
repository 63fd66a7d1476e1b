package demo_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/demo"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/world"
)

// buildProgram builds the program whose processes the demo runs.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "trade")
	arguments := slices.Concat([]string{"build"}, asTests, []string{"-o", program, "../../cmd/trade"})
	output, err := exec.CommandContext(t.Context(), "go", arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("building the program: %v\n%s", err, output)
	}
	return program
}

// From a customer's wish to the tokens on their account: real servers, real processes, and a world that keeps the books.
func TestTurns(t *testing.T) {
	t.Parallel()
	program := buildProgram(t)
	for name, change := range map[string]func(*demo.Settings){
		"four workers in a noisy world": func(s *demo.Settings) {
			s.Shards, s.PostgresURL, s.BrokerURL = 4, os.Getenv("TEST_POSTGRES_URL"), testenv.NewVirtualHost(t)
			s.Profile = world.Noisy()
		},
		"processes and servers are killed in a storm": func(s *demo.Settings) {
			s.Shards, s.Services, s.Faults, s.Profile = 2, "../../scripts/services", true, world.Storm(s.Seed)
			s.Profile.Freedoms.RejectRecipient, s.Profile.Freedoms.FailCommit = 0, 0 // to try again would take a minute
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			settings := demo.Settings{
				Program: program, Scenario: world.Town(), Profile: world.Calm(), Seed: 1, Turns: 1, Dir: t.TempDir(), Out: &out,
			}
			change(&settings)
			if err := demo.Run(t.Context(), settings); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			// While servers are away, some currencies are not reported.
			want := []string{`gave`, `M1   holds`, `C9   holds`, `P2   holds`, `S1 +holds +\d`, `(?m)^1 +\d of \d .* s$`, `Left over  nothing`}
			if settings.Faults {
				want = append(want, `killed: PostgreSQL \d.*RabbitMQ \d.*consume_messages \d.*solver \d.*worker \d`)
			}
			for _, pattern := range want {
				if !regexp.MustCompile(pattern).Match(out.Bytes()) {
					t.Errorf("the demo does not say %q:\n%s", pattern, &out)
				}
			}
			page, err := os.ReadFile(filepath.Join(settings.Dir, "report.html"))
			if err != nil || !strings.Contains(string(page), "Turn 1") {
				t.Errorf("the report has %d bytes, %v", len(page), err)
			}
		})
	}
}

// All that is running when everything has been told can be looked at, where it is said to be, until the demo is stopped.
func TestKeep(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	shown, out := io.Pipe()
	settings := demo.Settings{
		Program: buildProgram(t), Scenario: world.Town(), Profile: world.Calm(), Seed: 1, Turns: 1, Shards: 1,
		PostgresURL: os.Getenv("TEST_POSTGRES_URL"), BrokerURL: testenv.NewVirtualHost(t), BrokerPages: os.Getenv("TEST_BROKER_MANAGEMENT_URL"),
		Keep: true, Dir: t.TempDir(), Out: out,
	}
	ended := make(chan error, 1)
	go func() {
		ended <- demo.Run(ctx, settings)
		_ = out.Close()
	}()
	defer func() {
		stop()
		_, _ = io.Copy(io.Discard, shown)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var text strings.Builder
	places := map[string]int{}
	for lines := bufio.NewScanner(shown); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch {
		case fields[0] == "psql":
			places["databases"]++
			lookAtDatabase(t, strings.Trim(fields[1], "'"))
		case fields[0] == "curl":
			places["servers"]++
			lookAtPage(t, fields[1])
		case strings.HasSuffix(lines.Text(), "# the broker's pages"):
			places["pages"]++
			lookAtPage(t, fields[0])
		case strings.HasSuffix(lines.Text(), "# the broker itself"):
			if fields[0] != settings.BrokerURL {
				t.Errorf("the broker is at %q", fields[0])
			}
			stop()
		}
	}
	// A solver and a worker have databases; a worker has metrics; there is the admin API.
	if want := map[string]int{"databases": 2, "servers": 2, "pages": 1}; !maps.Equal(places, want) {
		t.Errorf("there are %v, want %v:\n%s", places, want, &text)
	}
}

func lookAtDatabase(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		err = errors.Join(conn.Ping(t.Context()), conn.Close(t.Context()))
	}
	if err != nil {
		t.Errorf("looking at a database: %v", err)
	}
}

func lookAtPage(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	page, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK || len(page) == 0 {
		t.Errorf("%s: %s, %d bytes, %v", url, response.Status, len(page), err)
	}
}

// What does not work is told, and not waited for. When the turns have begun, so are the verdicts: they may tell why.
func TestBadProgram(t *testing.T) {
	t.Parallel()
	program := buildProgram(t)
	const verdict = "C1   holds"
	for name, c := range map[string]struct{ script, want, told string }{
		"fails at once": {`echo no way; exit 1`, "configuring worker-0: exit status 1\nno way", ""},
		"ends by itself": {
			`[ "$1" = worker ] || exec "` + program + `" "$@"`, "worker-0 has ended by itself: see ", verdict,
		},
		"fails at the end": {
			`"` + program + `" "$@" & trap 'kill $!; wait $!; exit 3' TERM; wait $! || exit; [ "$1" = configure ]`,
			"solver has not stopped well: see its log: exit status 3", verdict,
		},
		"finds nothing to trade": {
			`[ "$1" != solver ] || export MIN_TRADE_AMOUNT=1000000000000; exec "` + program + `" "$@"`,
			demo.ErrFailed.Error(), "\nNOBODY HAS TRADED, although",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := filepath.Join(t.TempDir(), "trade")
			script := "#!/bin/bash\n" + c.script + "\n"
			if err := os.WriteFile(bad, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := demo.Run(t.Context(), demo.Settings{
				Program: bad, Scenario: world.Town(), Profile: world.Calm(), Shards: 1, Turns: 1,
				PostgresURL: os.Getenv("TEST_POSTGRES_URL"), BrokerURL: testenv.NewVirtualHost(t), Dir: t.TempDir(), Out: &out,
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q\n%s", err, c.want, &out)
			}
			if !strings.Contains(out.String(), c.told) {
				t.Errorf("it does not say %q:\n%s", c.told, &out)
			}
		})
	}
}
