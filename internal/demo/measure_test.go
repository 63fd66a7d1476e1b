package demo_test

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/circular-trade/circular-trade/internal/demo"
	"github.com/circular-trade/circular-trade/internal/testenv"
	"github.com/circular-trade/circular-trade/internal/world"
)

// All stages come in order, and something happens in each.
func TestMeasure(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var watched []string
	figures, err := demo.Measure(t.Context(), demo.Settings{
		PostgresURL: os.Getenv("TEST_POSTGRES_URL"), BrokerURL: testenv.NewVirtualHost(t), Program: buildProgram(t),
		Scenario: world.Town(), Profile: world.Calm(), Seed: 1, Shards: 2, Dir: t.TempDir(), Out: &out,
	}, func(stage demo.Stage, processes map[string]int) {
		watched = append(watched, stage.String())
		for _, name := range []string{"worker-0", "worker-1", "solver"} {
			if processes[name] == 0 && (name != "solver" || stage > demo.Learning) {
				t.Errorf("%v: %s does not run, but %v", stage, name, processes)
			}
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	want := []string{"learning", "waiting", "locking", "waiting", "clearing", "waiting", "moving", "waiting"}
	if !slices.Equal(watched, want) {
		t.Errorf("the stages are %v", watched)
	}
	if figures.Offers == 0 || figures.Trades == 0 || figures.Trades > figures.Offers {
		t.Errorf("there are %d offers and %d trades", figures.Offers, figures.Trades)
	}
	messages := int64(0) // that of a stage may be 0: on a busy machine, it may be over before its beginning is seen
	for stage := range demo.Stages {
		messages += figures.Messages[stage]
		if figures.Seconds[stage] <= 0 || figures.Messages[stage] < 0 {
			t.Errorf("%v: %g s, %d messages", stage, figures.Seconds[stage], figures.Messages[stage])
		}
	}
	if messages == 0 {
		t.Error("there have been no messages")
	}
}
