package demo

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// tell prints what has happened, and writes the report. It returns whether all has been as it should be.
func (s *show) tell() (ok bool, err error) {
	s.screen.title("What happened to some of them")
	for _, story := range s.stories() {
		s.screen.write("\n%s\n", wrap(story, 100, "    "))
	}
	s.screen.write("\n")
	s.screen.title("Where the tokens are, and whether all has been as it should be")
	report := s.world.Report()
	var text bytes.Buffer
	if err := report.Write(&text); err != nil {
		return false, err
	}
	s.screen.write("\n%s\n", text.String())
	page := filepath.Join(s.Dir, "report.html")
	if err := s.stores.writeReport(context.Background(), page, s.Turns); err != nil {
		return false, fmt.Errorf("writing the report: %w", err)
	}
	s.screen.write("Report     %s\nLogs       %s\n", page, filepath.Join(s.Dir, "*.log"))
	if s.Faults {
		s.screen.write("Faults     processes were killed %d times\n", s.fleet.kills)
	}
	return report.OK() && report.Final, nil
}

// stories returns what happened to those who have traded most, and to somebody who has not traded.
func (s *show) stories() []string {
	const most = 5
	type customer struct {
		story  string
		trades int
	}
	var all []customer
	for i := range s.Scenario.Customers {
		id := s.Scenario.Customers[i].ID
		c := customer{story: s.world.Story(id)}
		positions := s.world.Positions(id)
		for i := range positions {
			c.trades += len(positions[i].Trades)
		}
		if c.story != "" {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b customer) int { return b.trades - a.trades })
	var stories []string
	for i, c := range all {
		if i < most || i == len(all)-1 && c.trades == 0 {
			stories = append(stories, c.story)
		}
	}
	return stories
}

// wrap breaks a text into lines.
func wrap(text string, width int, indent string) string {
	var out strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != indent {
			out.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return out.String() + line
}

// inviteToLookAround tells where things are that go on.
func (s *show) inviteToLookAround() {
	s.screen.write("\nAll goes on until Ctrl-C. Have a look around:\n\n    psql '%s'\n", s.stores.solverURL)
	for _, url := range s.stores.workerURLs {
		s.screen.write("    psql '%s'\n", url)
	}
	for _, name := range slices.Sorted(maps.Keys(s.fleet.specs)) {
		if url := s.fleet.specs[name].statusURL; url != "" {
			s.screen.write("    curl %s/metrics   # %s; also /readyz\n", url, name)
		}
	}
	s.screen.write("    broker: %s\n", s.BrokerURL)
}
