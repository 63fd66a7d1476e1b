package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
)

// LoggerKey is the key of the attribute with the name of the logger. In groups, it has no special meaning.
const LoggerKey = "logger"

// DefaultLogger is the name of loggers that have not been given one.
const DefaultLogger = "trade"

// LevelCritical is for errors after which a program cannot go on.
const LevelCritical = slog.LevelError + 4

// Options say what a [Handler] writes.
type Options struct {
	// Level is the least severity written. Nil is slog.LevelInfo.
	Level slog.Leveler
	// JSON makes each record a JSON object with the members asctime, levelname, name and message, followed by the
	// attributes. Otherwise, a record is text.
	JSON bool
}

// A Handler is a slog.Handler, see the package's documentation. It writes each record with one call of Write.
type Handler struct {
	output     *output
	level      slog.Leveler
	json       bool
	logger     string
	inGroup    bool
	attributes slog.Handler // writes to output.attributes
}

// output belongs to all handlers that were made from one.
type output struct {
	mu         sync.Mutex
	writer     io.Writer
	attributes bytes.Buffer
	line       bytes.Buffer
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler returns a handler that writes to w. It can be used from several goroutines.
func NewHandler(w io.Writer, options Options) *Handler {
	if options.Level == nil {
		options.Level = slog.LevelInfo
	}
	h := &Handler{output: &output{writer: w}, level: options.Level, json: options.JSON, logger: DefaultLogger}
	attributeOptions := &slog.HandlerOptions{ReplaceAttr: h.replace}
	if h.json {
		h.attributes = slog.NewJSONHandler(&h.output.attributes, attributeOptions)
	} else {
		h.attributes = slog.NewTextHandler(&h.output.attributes, attributeOptions)
	}
	return h
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	inner := *h
	inner.inGroup = true
	inner.attributes = h.attributes.WithGroup(name)
	return &inner
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	inner := *h
	others := make([]slog.Attr, 0, len(attributes))
	for _, attribute := range attributes {
		if inner.namesLogger(attribute) {
			inner.logger = attribute.Value.Resolve().String()
		} else {
			others = append(others, attribute)
		}
	}
	inner.attributes = h.attributes.WithAttrs(others)
	return &inner
}

func (h *Handler) namesLogger(attribute slog.Attr) bool {
	return attribute.Key == LoggerKey && !h.inGroup
}

// Handle implements slog.Handler. The error is that of the writer.
func (h *Handler) Handle(ctx context.Context, record slog.Record) error {
	logger := h.logger
	// What the other handler writes about the record itself is recognized and left out.
	attributes := slog.NewRecord(noTime, noLevel, noMessage, 0)
	record.Attrs(func(attribute slog.Attr) bool {
		if h.namesLogger(attribute) {
			logger = attribute.Value.Resolve().String()
		} else {
			attributes.AddAttrs(attribute)
		}
		return true
	})

	h.output.mu.Lock()
	defer h.output.mu.Unlock()
	h.output.attributes.Reset()
	if err := h.attributes.Handle(ctx, attributes); err != nil {
		return err
	}
	h.output.line.Reset()
	var err error
	if h.json {
		err = h.output.writeJSON(record, logger)
	} else {
		h.output.writeText(record, logger)
	}
	if err != nil {
		return err
	}
	_, err = h.output.writer.Write(h.output.line.Bytes())
	return err
}
