package demo_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/demo"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/world"
)

// buildProgram builds the program whose processes the demo runs.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "trade")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/trade").CombinedOutput()
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
		"one worker":                      func(s *demo.Settings) { s.Shards = 1 },
		"four workers in a noisy world":   func(s *demo.Settings) { s.Shards, s.Profile = 4, world.Noisy() },
		"processes are killed in a storm": func(s *demo.Settings) { s.Shards, s.Profile, s.Faults = 2, world.Storm(), true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			settings := demo.Settings{
				PostgresURL: os.Getenv("TEST_POSTGRES_URL"), BrokerURL: testenv.NewVirtualHost(t), Program: program,
				Scenario: world.Town(), Profile: world.Calm(), Seed: 1, Turns: 1, Dir: t.TempDir(), Out: &out,
			}
			change(&settings)
			if err := demo.Run(t.Context(), settings); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			for _, text := range []string{"gave", "M1   holds", "C9   holds"} {
				if !strings.Contains(out.String(), text) {
					t.Errorf("the demo does not say %q:\n%s", text, &out)
				}
			}
			page, err := os.ReadFile(filepath.Join(settings.Dir, "report.html"))
			if err != nil || !strings.Contains(string(page), "Turn 1") {
				t.Errorf("the report has %d bytes, %v", len(page), err)
			}
		})
	}
}
