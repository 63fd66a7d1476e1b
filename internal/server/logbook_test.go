package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
)

// A logbook remembers what was logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logbook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, nil))
}

// entries returns the attributes of the records with this level and message.
func (b *logbook) entries(t *testing.T, level slog.Level, message string) []map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []map[string]any
	for line := range bytes.Lines(b.text.Bytes()) {
		var record map[string]any
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		if record["level"] == level.String() && record["msg"] == message {
			found = append(found, record)
		}
	}
	return found
}
