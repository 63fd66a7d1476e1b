package adminapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// So many requests that need a token are served at a time, so many wait, and not for ever. Others are served meanwhile.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t, func(c *adminapi.Config) {
		c.Limits.Concurrent, c.Limits.Waiting, c.Limits.QueueTime = 2, 1, 300*time.Millisecond
	})
	known := n.token("root", allScopes)
	n.as(known, "GET", "/trade/turns", "").must(t, 200)
	asked, answer := make(chan struct{}), make(chan struct{})
	n.answers.Store("slow-1", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-answer }))
	n.answers.Store("slow-2", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-answer }))
	done := make(chan reply, 2)
	for i := range 2 {
		go func() { done <- n.as(fmt.Sprintf("slow-%d", i+1), "GET", "/trade/turns", "") }()
		<-asked
	}
	for range 2 { // the time is over for the first one when the second one comes
		if r := n.as(known, "GET", "/trade/turns", "").must(t, 503); r.Header().Get("Retry-After") != "1" {
			t.Errorf("it does not tell when to come again: %v", r.Header())
		}
	}
	n.do("GET", "/trade/health/check/public", "").must(t, 200)
	n.do("GET", "/trade/health/ready/public", "").must(t, 200)
	close(answer)
	(<-done).must(t, 502)
	(<-done).must(t, 502)
	n.as(known, "GET", "/trade/turns", "").must(t, 200)
}

// Those who find too many others waiting do not wait.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t, func(c *adminapi.Config) { c.Limits.Concurrent, c.Limits.Waiting = 1, 3 })
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	n.answers.Store("slow", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-answer }))
	const senders = 10
	done := make(chan reply, senders)
	send := func(token string) { go func() { done <- n.as(token, "GET", "/trade/turns", "") }() }
	send("slow")
	<-asked
	for range senders - 1 {
		send(n.token("root", allScopes))
	}
	for range senders - 4 {
		(<-done).must(t, 503)
	}
	close(answer)
	codes := map[int]int{}
	for range 4 {
		codes[(<-done).Code]++
	}
	if codes[200] != 3 || codes[502] != 1 {
		t.Errorf("the status codes are %v", codes)
	}
}

// No address gets more than its share.
func TestRate(t *testing.T) {
	t.Parallel()
	n := newNode(t, "postgres://user@127.0.0.1:1/none", func(c *adminapi.Config) { c.Limits.Rate, c.Limits.Burst = 1e-9, 2 })
	for _, c := range []struct {
		from []string
		code int
	}{
		{nil, 200},
		{nil, 200},
		{nil, 429},
		{[]string{"X-Forwarded-For", "198.51.100.1"}, 200},
		{[]string{"X-Forwarded-For", "198.51.100.1"}, 200},
		{[]string{"X-Forwarded-For", "198.51.100.1"}, 429},
		{[]string{"X-Forwarded-For", "forged, 198.51.100.1"}, 429},
		{[]string{"X-Forwarded-For", "forged", "X-Forwarded-For", "203.0.113.9,198.51.100.1:80"}, 429},
		{[]string{"X-Forwarded-For", "::ffff:198.51.100.1"}, 429},
		{[]string{"X-Forwarded-For", "198.51.100.2"}, 200},
		{[]string{"X-Forwarded-For", "2001:db8::1"}, 200},
		{[]string{"X-Forwarded-For", "2001:db8::2"}, 200},
		{[]string{"X-Forwarded-For", "[2001:db8::3]:80"}, 429},
		{[]string{"X-Forwarded-For", "2001:db8:0:1::3"}, 200},
		{[]string{"X-Forwarded-For", "x"}, 200},
		{[]string{"X-Forwarded-For", ""}, 200},
		{[]string{"X-Forwarded-For", "y"}, 429},
	} {
		r := n.do("GET", "/trade/health/check/public", "", c.from...).must(t, c.code)
		if (r.Header().Get("Retry-After") == "1") != (c.code == 429) {
			t.Errorf("%v: %v", c.from, r.Header())
		}
	}
}

// A database that does not answer does not keep anybody waiting.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.NewDatabase(t))
	proxy.Stall()
	n := newNode(t, proxy.URL(), func(c *adminapi.Config) { c.Limits.RequestTime = 300 * time.Millisecond })
	for _, route := range protectedRoutes {
		n.root(route.method, route.path, "").must(t, 503)
	}
	n.do("GET", "/trade/health/ready/public", "").must(t, 503)
	n.do("GET", "/trade/health/check/public", "").must(t, 200)
}

// A database without tables is nothing that is wrong with this server.
func TestDatabaseThatIsNotSetUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, testenv.NewDatabase(t))
	for _, route := range protectedRoutes {
		if r := n.root(route.method, route.path, "").must(t, 503); !strings.Contains(r.Body.String(), `run \"trade configure\"`) {
			t.Errorf("%s %s is answered with %s", route.method, route.path, r.Body)
		}
	}
}

// Bodies are limited, whatever they say of themselves.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	const path = "/trade/collectors/5/activate"
	n.root("POST", path, "{}"+strings.Repeat(" ", 16<<10-2)).must(t, 204)
	n.root("POST", path, "{}"+strings.Repeat(" ", 16<<10-1)).must(t, 413)
	n.root("POST", path, strings.Repeat("[", 16<<10)).must(t, 400)
}

// The access log has each request, and the metrics count it.
func TestObserving(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	n.root("GET", "/trade/turns?secret=x", "").must(t, 200)
	n.do("GET", "/trade/turns", "").must(t, 401)
	n.do("GET", "/elsewhere", "", "X-Forwarded-For", "198.51.100.1", "X-Forwarded-Proto", "https").must(t, 404)
	log := n.log.String()
	for _, want := range []string{
		`"level":"DEBUG","msg":"request","method":"GET","path":"/trade/turns","status":200`,
		`"client":"192.0.2.1","forwarded_proto":"","identity":"root"}`,
		`"path":"/trade/turns","status":401`,
		`"client":"198.51.100.1","forwarded_proto":"https","identity":""}`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	if strings.Contains(log, "secret") {
		t.Errorf("the log tells secrets: %s", log)
	}
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if metric.GetHistogram() != nil {
				labels := metric.GetLabel() // code, route
				counts[labels[0].GetValue()+" "+labels[1].GetValue()] = metric.GetHistogram().GetSampleCount()
			}
		}
	}
	if len(counts) != 3 || counts["200 GET /trade/turns"] != 1 {
		t.Errorf("the metrics are %v", counts)
	}
	if problems, err := testutil.GatherAndLint(n.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
