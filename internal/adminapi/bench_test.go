package adminapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// What a request with a known token costs, without the network: through all checks to the database, and only to the last
// check.
func BenchmarkRequest(b *testing.B) {
	n := newMigratedNode(b)
	for name, c := range map[string]struct {
		path, token string
		code        int
	}{
		"turns":   {"/trade/turns", n.token("root", allScopes), http.StatusOK},
		"refused": {"/trade/turns", n.token("creditors:1", allScopes), http.StatusForbidden},
	} {
		b.Run(name, func(b *testing.B) {
			durations := make([]time.Duration, 0, b.N)
			for b.Loop() {
				begun := time.Now()
				r := httptest.NewRequest(http.MethodGet, c.path, http.NoBody)
				r.Header.Set("Authorization", "Bearer "+c.token)
				recorder := httptest.NewRecorder()
				n.api.ServeHTTP(recorder, r)
				if recorder.Code != c.code {
					b.Fatalf("it is answered with %d %s", recorder.Code, recorder.Body)
				}
				durations = append(durations, time.Since(begun))
			}
			slices.Sort(durations)
			b.ReportMetric(float64(durations[len(durations)*99/100].Microseconds()), "p99-µs")
		})
	}
}
