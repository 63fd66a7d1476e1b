package logging

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// The layouts of instants.
const (
	textTime = "2006-01-02 15:04:05-0700"
	jsonTime = "2006-01-02T15:04:05-0700"
)

// What a record has instead of its own time, level and message when only its attributes shall be written.
const (
	noLevel   = slog.Level(math.MinInt)
	noMessage = "\x00 none"
)

var noTime time.Time

// writeText makes a line of text out of a record and the attributes that have been written.
func (o *output) writeText(record slog.Record, logger string) {
	if !record.Time.IsZero() {
		o.line.WriteString(record.Time.UTC().Format(textTime))
	}
	o.line.WriteString(":" + levelName(record.Level) + ":")
	writeEscaped(&o.line, logger)
	o.line.WriteByte(':')
	writeEscaped(&o.line, record.Message)
	if attributes := bytes.TrimSuffix(o.attributes.Bytes(), []byte("\n")); len(attributes) > 0 {
		o.line.WriteByte(' ')
		o.line.Write(attributes)
	}
	o.line.WriteByte('\n')
}

// writeEscaped writes text on one line. Unlike quoted text, it stays readable: quotes and backslashes are not escaped.
func writeEscaped(line *bytes.Buffer, text string) {
	for text != "" {
		char, size := utf8.DecodeRuneInString(text)
		if char == utf8.RuneError && size == 1 || !unicode.IsPrint(char) {
			escaped := strconv.Quote(text[:size])
			line.WriteString(escaped[1 : len(escaped)-1])
		} else {
			line.WriteString(text[:size])
		}
		text = text[size:]
	}
}

// header is what all objects begin with.
type header struct {
	Time    string `json:"asctime,omitempty"`
	Level   string `json:"levelname"`
	Logger  string `json:"name"`
	Message string `json:"message"`
}

var headerMembers = []string{"asctime", "levelname", "name", "message"}

// writeJSON makes a JSON object out of a record and the object of attributes that has been written.
func (o *output) writeJSON(record slog.Record, logger string) error {
	head := header{Level: levelName(record.Level), Logger: logger, Message: record.Message}
	if !record.Time.IsZero() {
		head.Time = record.Time.UTC().Format(jsonTime)
	}
	encoder := json.NewEncoder(&o.line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(head); err != nil {
		return err
	}
	if attributes := o.attributes.Bytes(); !bytes.Equal(attributes, []byte("{}\n")) {
		o.line.Truncate(o.line.Len() - len("}\n"))
		o.line.WriteByte(',')
		o.line.Write(attributes[len("{"):])
	}
	return nil
}

// replace leaves out what is written by other means, and keeps attributes from hiding the first members of an object.
func (h *Handler) replace(groups []string, attribute slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
		return attribute
	case attribute.Key == slog.LevelKey && attribute.Value.Equal(slog.AnyValue(noLevel)),
		attribute.Key == slog.MessageKey && attribute.Value.Equal(slog.StringValue(noMessage)):
		return slog.Attr{}
	case h.json && slices.Contains(headerMembers, attribute.Key):
		attribute.Key += "_"
	}
	return attribute
}

// levelName returns the name that log collectors know. Levels in between belong to the next lower name.
func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARNING"
	case level < LevelCritical:
		return "ERROR"
	default:
		return "CRITICAL"
	}
}
