package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/logging"
)

// An instant that is another day in its own time zone than in UTC.
var instant = time.Date(2026, 2, 1, 1, 2, 3, 456789, time.FixedZone("", 2*60*60))

type secret string

func (secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { return nil, errors.New("cannot") }

// line returns what is written for one record.
func line(
	t *testing.T, asJSON bool, with func(slog.Handler) slog.Handler, level slog.Level, message string, args ...any,
) string {
	t.Helper()
	var buffer bytes.Buffer
	var handler slog.Handler = logging.NewHandler(&buffer, logging.Options{Level: slog.LevelDebug, JSON: asJSON})
	if with != nil {
		handler = with(handler)
	}
	record := slog.NewRecord(instant, level, message, 0)
	record.Add(args...)
	if err := handler.Handle(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

func TestLines(t *testing.T) {
	t.Parallel()
	named := func(h slog.Handler) slog.Handler {
		return h.WithAttrs([]slog.Attr{slog.String(logging.LoggerKey, "trade.fetch"), slog.Int("shard", 5)})
	}
	const text, object = "2026-01-31 23:02:03+0000:", `{"asctime":"2026-01-31T23:02:03+0000","levelname":`
	for name, test := range map[string]struct {
		with           func(slog.Handler) slog.Handler
		level          slog.Level
		message        string
		args           []any
		text, asObject string
	}{
		"plain": {
			nil, slog.LevelWarn, "disk full", nil,
			text + "WARNING:trade:disk full",
			object + `"WARNING","name":"trade","message":"disk full"}`,
		},
		"attributes": {
			nil, slog.LevelInfo, "fetched",
			[]any{"iri", "https://example.com/?a=1&b=2", "bytes", 7, "why", "so what", "took", time.Second},
			text + `INFO:trade:fetched iri="https://example.com/?a=1&b=2" bytes=7 why="so what" took=1s`,
			object + `"INFO","name":"trade","message":"fetched","iri":"https://example.com/?a=1&b=2","bytes":7,` +
				`"why":"so what","took":1000000000}`,
		},
		"named logger with attributes of its own": {
			named, slog.LevelError, "failed",
			[]any{"error", errors.New("no\nluck")},
			text + `ERROR:trade.fetch:failed shard=5 error="no\nluck"`,
			object + `"ERROR","name":"trade.fetch","message":"failed","shard":5,"error":"no\nluck"}`,
		},
		"the record's name counts": {
			named, slog.LevelDebug, "m",
			[]any{"logger", "other"},
			text + "DEBUG:other:m shard=5",
			object + `"DEBUG","name":"other","message":"m","shard":5}`,
		},
		"a name in a group is none": {
			func(h slog.Handler) slog.Handler {
				return named(h).WithGroup("").WithGroup("g").WithAttrs([]slog.Attr{slog.Int("logger", 1)})
			},
			slog.LevelInfo, "m",
			[]any{"logger", 2, "x", 3},
			text + "INFO:trade.fetch:m shard=5 g.logger=1 g.logger=2 g.x=3",
			object + `"INFO","name":"trade.fetch","message":"m","shard":5,"g":{"logger":1,"logger":2,"x":3}}`,
		},
		"newlines and other control characters": {
			nil, slog.LevelInfo, "a\nb\r\x1b[31m\tc\u2028d\xff \"quoted\" \\ Ж",
			[]any{"k\n", "v\n"},
			text + `INFO:trade:a\nb\r\x1b[31m\tc\u2028d\xff "quoted" \ Ж "k\n"="v\n"`,
			object + `"INFO","name":"trade","message":"a\nb\r\u001b[31m\tc\u2028d\ufffd \"quoted\" \\ Ж","k\n":"v\n"}`,
		},
		"markup": {
			nil, slog.LevelInfo, "<a> & <b>", nil,
			text + "INFO:trade:<a> & <b>",
			object + `"INFO","name":"trade","message":"<a> & <b>"}`,
		},
		"attributes that are called like the beginning": {
			nil, slog.LevelInfo, "m",
			[]any{"message", 1, "name", 2, "levelname", 3, "asctime", 4, "level", 5, "msg", 6, "time", 7},
			text + "INFO:trade:m message=1 name=2 levelname=3 asctime=4 level=5 msg=6 time=7",
			object + `"INFO","name":"trade","message":"m","message_":1,"name_":2,"levelname_":3,"asctime_":4,` +
				`"level":5,"msg":6,"time":7}`,
		},
		"a group": {
			nil, slog.LevelInfo, "m",
			[]any{slog.Group("g", slog.Int("message", 1), slog.String("empty", ""))},
			text + `INFO:trade:m g.message=1 g.empty=""`,
			object + `"INFO","name":"trade","message":"m","g":{"message":1,"empty":""}}`,
		},
		"values that know how to be written": {
			nil, slog.LevelInfo, "m",
			[]any{"url", secret("password")},
			text + "INFO:trade:m url=***",
			object + `"INFO","name":"trade","message":"m","url":"***"}`,
		},
		"an empty message, a strange name": {
			nil, slog.LevelInfo, "",
			[]any{"logger", "a\nb"},
			text + `INFO:a\nb:`,
			object + `"INFO","name":"a\nb","message":""}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := line(t, false, test.with, test.level, test.message, test.args...); got != test.text+"\n" {
				t.Errorf("text:\n%swant:\n%s", got, test.text)
			}
			if got := line(t, true, test.with, test.level, test.message, test.args...); got != test.asObject+"\n" {
				t.Errorf("JSON:\n%swant:\n%s", got, test.asObject)
			}
		})
	}
}

func TestValueThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	var object map[string]any
	if err := json.Unmarshal([]byte(line(t, true, nil, slog.LevelInfo, "m", "x", broken{})), &object); err != nil {
		t.Fatal(err)
	}
	if object["message"] != "m" || !strings.Contains(fmt.Sprint(object["x"]), "cannot") {
		t.Errorf("written: %v", object)
	}
}

func TestLevelNames(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4:       "DEBUG",
		slog.LevelDebug:           "DEBUG",
		slog.LevelInfo - 1:        "DEBUG",
		slog.LevelInfo:            "INFO",
		slog.LevelWarn - 1:        "INFO",
		slog.LevelWarn:            "WARNING",
		slog.LevelError - 1:       "WARNING",
		slog.LevelError:           "ERROR",
		logging.LevelCritical - 1: "ERROR",
		logging.LevelCritical:     "CRITICAL",
		logging.LevelCritical + 9: "CRITICAL",
	} {
		if got := line(t, false, nil, level, "m"); !strings.Contains(got, "+0000:"+want+":trade:m\n") {
			t.Errorf("level %d: %q, want %s", level, got, want)
		}
	}
}

func TestEnabled(t *testing.T) {
	t.Parallel()
	var buffer bytes.Buffer
	logger := slog.New(logging.NewHandler(&buffer, logging.Options{Level: slog.LevelWarn}))
	logger.Info("hidden")
	logger.Warn("shown")
	if got := buffer.String(); strings.Contains(got, "hidden") || !strings.Contains(got, ":WARNING:trade:shown\n") {
		t.Errorf("written: %q", got)
	}
	handler := logging.NewHandler(&buffer, logging.Options{})
	if handler.Enabled(t.Context(), slog.LevelDebug) || !handler.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the level is not info if none is given")
	}
}

// A writer that counts the calls, and can fail.
type writer struct {
	bytes.Buffer
	calls int
	err   error
}

func (w *writer) Write(p []byte) (int, error) {
	w.calls++
	if w.err != nil {
		return 0, w.err
	}
	return w.Buffer.Write(p)
}

func TestGoroutinesDoNotMixLines(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		const goroutines, records = 8, 50
		var out writer
		root := slog.New(logging.NewHandler(&out, logging.Options{JSON: asJSON}))
		var all sync.WaitGroup
		for i := range goroutines {
			logger := root.With(slog.Int("goroutine", i))
			all.Go(func() {
				for range records {
					logger.Info("message", slog.Int("again", i))
				}
			})
		}
		all.Wait()
		if out.calls != goroutines*records {
			t.Errorf("%d calls of Write for %d records", out.calls, goroutines*records)
		}
		counts := map[string]int{}
		for line := range strings.Lines(out.String()) {
			_, end, _ := strings.Cut(line, "message")
			counts[end]++
		}
		if len(counts) != goroutines {
			t.Errorf("%d different lines, want %d: %v", len(counts), goroutines, counts)
		}
		for end, count := range counts {
			if count != records {
				t.Errorf("%d times %q, want %d", count, end, records)
			}
		}
	}
}

func TestErrorOfTheWriter(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	handler := logging.NewHandler(&writer{err: full}, logging.Options{})
	if err := handler.Handle(t.Context(), slog.NewRecord(instant, slog.LevelInfo, "m", 0)); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

// The rules of log/slog for handlers.
func TestSlogRules(t *testing.T) {
	t.Parallel()
	var buffer bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buffer.Reset()
		return logging.NewHandler(&buffer, logging.Options{JSON: true})
	}, func(t *testing.T) map[string]any {
		t.Helper()
		var object map[string]any
		if err := json.Unmarshal(buffer.Bytes(), &object); err != nil {
			t.Fatal(err)
		}
		for ours, theirs := range map[string]string{
			"asctime": slog.TimeKey, "levelname": slog.LevelKey, "message": slog.MessageKey,
		} {
			if value, ok := object[ours]; ok {
				object[theirs] = value
			}
		}
		return object
	})
}

// Whatever is logged, it is one line, which begins as it should; in the form of JSON, it can be read back.
func TestOneRecordIsOneLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		message, logger := rapid.String().Draw(rt, "message"), rapid.String().Draw(rt, "logger")
		key, value := rapid.String().Draw(rt, "key"), rapid.String().Draw(rt, "value")
		args := []any{slog.String(logging.LoggerKey, logger), slog.String("_"+key, value)}

		text := line(t, false, nil, slog.LevelInfo, message, args...)
		// log/slog leaves DEL as it is; it does no harm.
		breaks := func(char rune) bool {
			return unicode.IsControl(char) && char != 0x7f || char == 0x2028 || char == 0x2029
		}
		if end := strings.IndexFunc(text, breaks); end != len(text)-1 || text[end] != '\n' {
			rt.Fatalf("%q is not one line", text)
		}
		if !strings.HasPrefix(text, "2026-01-31 23:02:03+0000:INFO:") {
			rt.Fatalf("written: %q", text)
		}

		var read map[string]string
		object := line(t, true, nil, slog.LevelInfo, message, args...)
		if err := json.Unmarshal([]byte(object), &read); err != nil || strings.IndexByte(object, '\n') != len(object)-1 {
			rt.Fatalf("%q: %v", object, err)
		}
		if read["message"] != message || read["name"] != logger || read["_"+key] != value {
			rt.Fatalf("written: %s", object)
		}
	})
}
