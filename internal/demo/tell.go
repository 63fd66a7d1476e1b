package demo

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/circular-trade/circular-trade/internal/world/journal"
)

// reportFile is the name of the file with the report about the latest market.
const reportFile = "report.html"

// tell prints what has happened, and writes the report. It returns whether all has been as it should be.
func (s *show) tell(ctx context.Context) (ok bool, err error) {
	s.screen.title("What happened to some of them")
	for _, story := range s.stories() {
		s.screen.write("\n%s\n", wrap(story, 100, "    "))
	}
	table, err := s.stores.turnTable(ctx)
	if err != nil {
		return false, fmt.Errorf("looking at turns: %w", err)
	}
	s.screen.write("\n")
	s.screen.title("The %s; the value is in tokens of the base currency", plural(s.Turns, "turn", "turns"))
	var text bytes.Buffer
	if err := writeTable(&text, table); err != nil {
		return false, err
	}
	s.screen.write("\n%s\n", &text)
	if ok, err = s.judge(ctx); err != nil {
		return false, err
	}
	page := filepath.Join(s.Dir, reportFile)
	latest, err := s.stores.turnID(ctx, s.Turns)
	if err != nil {
		return false, err
	}
	if err := s.stores.writeReport(ctx, page, latest); err != nil {
		return false, fmt.Errorf("writing the report: %w", err)
	}
	s.screen.write("Report     %s\nLogs       %s\n", page, filepath.Join(s.Dir, "*.log"))
	return ok, nil
}

// judge prints the verdicts, and returns whether all has been as it should be.
func (s *show) judge(ctx context.Context) (ok bool, err error) {
	s.screen.title("Where the tokens are, and whether all has been as it should be")
	report := s.world.Report()
	if report.Final { // otherwise it is too early
		decisions, err := s.decisions(ctx)
		if err != nil {
			return false, err
		}
		report.Verdicts = append(report.Verdicts, decisions.verdict())
	}
	var text bytes.Buffer
	if err := report.Write(&text); err != nil {
		return false, err
	}
	s.screen.write("\n%s\n", &text)
	leftovers, err := s.leftovers(ctx)
	if err != nil {
		return false, err
	}
	if len(leftovers) == 0 {
		s.screen.write("Left over  nothing: all messages have been sent, and handled\n")
	} else {
		s.screen.write("LEFT OVER  %s\n", strings.Join(leftovers, "; "))
	}
	ok = report.OK() && report.Final && len(leftovers) == 0
	if slices.ContainsFunc(report.Turnovers, func(t journal.Turnover) bool { return t.Buyers > 0 }) {
		return ok, nil
	}
	excused, err := s.mayBeIdle(ctx)
	if err != nil {
		return false, err
	}
	if !excused {
		s.screen.write("NOBODY HAS TRADED, although there are wishes that fit together\n")
		return false, nil
	}
	s.screen.write("Nobody has traded\n")
	return ok, nil
}

// tellOfTrouble prints what has been killed.
func (s *show) tellOfTrouble() {
	s.screen.write("Faults     %s; %d times a part of a worker ended because a server was away\n", s.trouble,
		s.fleet.partRestarts())
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
	s.screen.write("\nWorkers and the world go on until Ctrl-C, without further turns. Have a look around:\n\n    psql '%s'\n", s.stores.solverURL)
	for _, url := range s.stores.workerURLs {
		s.screen.write("    psql '%s'\n", url)
	}
	for _, name := range s.fleet.names() {
		if url := s.fleet.specs[name].statusURL; url != "" && name != solverProcess {
			s.screen.write("    curl %s/metrics   # %s; also /readyz\n", url, name)
		}
	}
	s.screen.write("    curl %[1]s/trade/turns   # the admin API, without tokens; its pages are at %[1]s/trade/.docs/\n", s.admin.url)
	if s.BrokerPages != "" {
		s.screen.write("    %s   # the broker's pages\n", s.BrokerPages)
	}
	s.screen.write("    %s   # the broker itself\n", s.BrokerURL)
}
