package adminapi

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/felixge/httpsnoop"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are about the requests to the API.
type Metrics struct {
	requests *prometheus.HistogramVec
	active   prometheus.Gauge
}

// NewMetrics returns metrics that are registered.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "trade_admin_request_duration_seconds",
			Help:    "How long it took to answer requests to the admin API, by route (empty: refused before) and status code.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"route", "code"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trade_admin_active_requests",
			Help: "Requests to the admin API that are being answered, or wait for it.",
		}),
	}
	registerer.MustRegister(m.requests, m.active)
	return m
}

// An entry of the access log is filled in by those who handle the request.
type entry struct {
	route string
	who   caller
}

type entryKey struct{}

// note enters who has sent a request.
func note(ctx context.Context, who caller) {
	if e, found := ctx.Value(entryKey{}).(*entry); found {
		e.who = who
	}
}

// noteRoute enters which route a request takes.
func noteRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if e, found := r.Context().Value(entryKey{}).(*entry); found {
				e.route = r.Pattern
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// observe measures requests, writes the access log, and answers those that others have failed to answer. The log has no
// headers and no queries, which may contain secrets.
func observe(next http.Handler, metrics *Metrics, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		metrics.active.Inc()
		defer metrics.active.Dec()
		e := &entry{}
		r = r.WithContext(context.WithValue(r.Context(), entryKey{}, e))
		seen := httpsnoop.CaptureMetrics(recovering(next, logger), w, r)
		metrics.requests.WithLabelValues(e.route, strconv.Itoa(seen.Code)).Observe(seen.Duration.Seconds())
		logger.DebugContext(r.Context(), "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", seen.Code), slog.Int64("bytes", seen.Written),
			slog.Duration("duration", seen.Duration.Round(time.Microsecond)), slog.String("client", clientOf(r)),
			slog.String("forwarded_proto", r.Header.Get("X-Forwarded-Proto")), slog.String("identity", e.who.identity))
	})
}

// recovering makes an answer of a panic, if there is none yet.
func recovering(next http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := false
		w = httpsnoop.Wrap(w, httpsnoop.Hooks{
			WriteHeader: func(write httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
				return func(code int) { begun = true; write(code) }
			},
			Write: func(write httpsnoop.WriteFunc) httpsnoop.WriteFunc {
				return func(b []byte) (int, error) { begun = true; return write(b) }
			},
		})
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			logger.ErrorContext(r.Context(), "a request has caused a panic", slog.String("method", r.Method),
				slog.String("path", r.URL.Path), slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
			if begun {
				panic(http.ErrAbortHandler) // has the client notice that something is missing
			}
			newError(http.StatusInternalServerError, failed).write(w)
		}()
		next.ServeHTTP(w, r)
	})
}
