package fetcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/circular-trade/circular-trade/internal/coininfo"
	"github.com/circular-trade/circular-trade/internal/currency"
	"github.com/circular-trade/circular-trade/internal/fetch"
)

// errPanic tells of a mistake in this program that some documents bring to light.
var errPanic = errors.New("panic")

// download downloads and parses a document. The label is for metrics.
func (s *shift) download(ctx context.Context, f *currency.Fetch) (o currency.Outcome, label string) {
	s.Metrics.active.Inc()
	started := time.Now()
	document, err := s.get(ctx, f.Target())
	s.Metrics.duration.Observe(time.Since(started).Seconds())
	s.Metrics.active.Dec()
	if err == nil {
		return currency.Outcome{Document: document}, outcomeDocument
	}
	o, label = judge(err)
	if ctx.Err() == nil {
		s.report(ctx, f, o, err)
	}
	return o, label
}

// get downloads and parses a document. Whatever a document does to the parser, it does it only once.
func (s *shift) get(ctx context.Context, iri string) (document *coininfo.Document, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			document, err = nil, fmt.Errorf("%w: %v", errPanic, cause)
		}
	}()
	body, err := s.Downloader.Get(ctx, iri)
	if err != nil {
		return nil, err
	}
	parsed, err := coininfo.Parse(body)
	if err != nil {
		return nil, err
	}
	return &parsed, nil
}

// judge decides what a failure means for a fetch.
func judge(err error) (o currency.Outcome, label string) {
	if errors.Is(err, context.DeadlineExceeded) { // whatever else the server has said when it was too late
		return o, outcomeTimeout
	}
	if status, ok := errors.AsType[*fetch.StatusError](err); ok {
		o.Status = int16(status.Status) //nolint:gosec // three digits
		return o, outcomeStatus
	}
	if _, ok := errors.AsType[*fetch.RefusedError](err); ok {
		return o, outcomePrivate
	}
	switch {
	case errors.Is(err, errPanic):
		o.Hopeless = true
		return o, outcomeInternal
	case errors.Is(err, fetch.ErrMalformed):
		o.Hopeless = true
		return o, outcomeMalformed
	case errors.Is(err, fetch.ErrMediaType), errors.Is(err, fetch.ErrEncoded), errors.Is(err, coininfo.ErrInvalid):
		return o, outcomeInvalid
	case errors.Is(err, fetch.ErrTooLong):
		return o, outcomeTooLong
	case errors.Is(err, fetch.ErrRedirect):
		return o, outcomeRedirect
	default:
		return o, outcomeNetwork
	}
}

// report writes into the log why there is no document. Failures of others are ordinary.
func (s *shift) report(ctx context.Context, f *currency.Fetch, o currency.Outcome, err error) {
	logger := s.Logger.With(
		slog.String("iri", f.Target()), slog.Int64("debtor", int64(f.DebtorID)), slog.Any("error", err))
	_, refused := errors.AsType[*fetch.RefusedError](err)
	switch {
	case refused:
		logger.WarnContext(ctx, "a document was not fetched, because its address is not public")
	case errors.Is(err, errPanic):
		logger.WarnContext(ctx, "a document could not be fetched, because of a mistake in this program")
	case o.Hopeless:
		logger.InfoContext(ctx, "a document will never be fetched")
	default:
		logger.InfoContext(ctx, "a document could not be fetched")
	}
}
