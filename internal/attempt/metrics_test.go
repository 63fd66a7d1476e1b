package attempt_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// mustCount makes sure that the metrics have some values.
func mustCount(tb testing.TB, b *bench, want ...string) {
	tb.Helper()
	text := exposition(tb, b.registry)
	for _, line := range want {
		if !strings.Contains(text, "\n"+line+"\n") {
			tb.Errorf("there is no %s in\n%s", line, text)
		}
	}
}

// exposition returns the metrics in the form in which they are scraped.
func exposition(tb testing.TB, registry *prometheus.Registry) string {
	tb.Helper()
	response := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/metrics", http.NoBody)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(response, request)
	return response.Body.String()
}
