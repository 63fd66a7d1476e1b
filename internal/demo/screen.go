package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A screen shows what happens: on a terminal, in a line that changes.
type screen struct {
	mu         sync.Mutex
	out        io.Writer
	isTerminal bool
	started    time.Time
	latest     string
	changing   bool // the cursor is at the end of a line that changes
}

func newScreen(out io.Writer, isTerminal bool) *screen {
	return &screen{out: out, isTerminal: isTerminal, started: time.Now()}
}

// title shows that something new begins.
func (s *screen) title(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	s.print("%6s  %s\n", s.clock(), fmt.Sprintf(format, args...))
}

// status shows how things stand.
func (s *screen) status(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if s.isTerminal {
		s.print("\r\x1b[K%6s    %s", s.clock(), text)
		s.changing = true
	} else if text != s.latest {
		s.print("%6s    %s\n", s.clock(), text)
	}
	s.latest = text
}

// write shows some lines.
func (s *screen) write(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	s.print(format, args...)
}

func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

func (s *screen) clock() string {
	return fmt.Sprintf("%.1f s", time.Since(s.started).Seconds())
}

func (s *screen) end() {
	if s.changing {
		s.print("\n")
		s.changing = false
	}
}

// print does not fail: that nobody looks on is no reason to stop.
func (s *screen) print(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...)
}
