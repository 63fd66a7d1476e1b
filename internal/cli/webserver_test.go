package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/cli"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// request returns the status code and the body of an answer.
func request(method, url, token string) (code int, body string, err error) {
	r, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// awaitAnswer waits until a request is answered as expected.
func awaitAnswer(t *testing.T, method, url, token string, want int) (body string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		code, text, err := request(method, url, token)
		if err == nil && code != want {
			err = fmt.Errorf("%s %s is answered with %d %s, want %d", method, url, code, text, want)
		}
		body = text
		return err
	})
	return body
}

// The web server is there before the database is, uses all its settings, and ends when it is asked to.
func TestWebServer(t *testing.T) {
	t.Parallel()
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "sub": r.FormValue("token"), "scope": "access activate"})
	}))
	t.Cleanup(authority.Close)
	d := newDeployment(t)
	port, statusPort := testenv.FreePort(t), testenv.FreePort(t)
	d.environment = append(d.environment,
		"WEBSERVER_PORT="+strconv.Itoa(port), "WEBSERVER_PROCESSES=2", "WEBSERVER_THREADS=5", "APP_STATUS_PORT="+strconv.Itoa(statusPort),
		"OAUTH2_INTROSPECT_URL="+authority.URL, "OAUTH2_SUPERUSER_USERNAME=root", "OAUTH2_SUPERVISOR_USERNAME=boss",
		"OWNER_CREDITOR_ID=77", "MIN_COLLECTOR_ID=0x100", "MAX_COLLECTOR_ID=0x103",
		"OPENAPI_SWAGGER_UI_URL=https://cdn.example.com/dist", "APP_LOG_LEVEL=debug", "APP_ENABLE_CORS=true")
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var log logbook
	running.Go(func() {
		if code := cli.Execute(ctx, cli.NewWebServerCommand(d.environment), nil, strings.NewReader(""), &log, &log); code != cli.ExitSuccess {
			t.Errorf("it ends with %d", code)
		}
	})
	defer running.Wait()
	defer stop()
	site, status := fmt.Sprintf("http://127.0.0.1:%d/trade/", port), fmt.Sprintf("http://127.0.0.1:%d/", statusPort)
	awaitAnswer(t, "GET", site+"health/check/public", "", 200)
	awaitAnswer(t, "GET", site+"health/ready/public", "", 503)
	awaitAnswer(t, "GET", status+"readyz", "", 503)
	log.await(t, "waiting for the solver database")
	d.migrate(t)
	awaitAnswer(t, "GET", site+"health/ready/public", "", 200)
	awaitAnswer(t, "GET", status+"readyz", "", 200)
	for token, want := range map[string]int{"root": 200, "boss": 200, "creditors:77": 200, "creditors:78": 403, "rooty": 403, "": 401} {
		if code, body, err := request("GET", site+"turns", token); code != want || err != nil {
			t.Errorf("as %q: %d %s, %v", token, code, body, err)
		}
	}
	if code, body, err := request("POST", site+"collectors/9/activate", "root"); code != 204 || body != "" || err != nil {
		t.Errorf("activating is answered with %d %q, %v", code, body, err)
	}
	var list struct {
		Collectors []struct{ CollectorID string }
	}
	body := awaitAnswer(t, "GET", site+"collectors/9", "root", 200)
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Collectors) != 1 ||
		!slices.Contains([]string{"256", "257", "258", "259"}, list.Collectors[0].CollectorID) {
		t.Errorf("the collectors are %s, %v", body, err)
	}
	if page := awaitAnswer(t, "GET", site+".docs/swagger-ui", "", 200); !strings.Contains(page, "https://cdn.example.com/dist/") {
		t.Errorf("the page is %s", page)
	}
	metrics := awaitAnswer(t, "GET", status+"metrics", "", 200)
	for _, want := range []string{"trade_admin_request_duration_seconds_count{", "trade_oauth_introspections_total{", "trade_admin_active_requests 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	log.await(t, "/trade/collectors/9/activate")
	testenv.Eventually(t, patience, func() error {
		if now := awaitAnswer(t, "GET", status+"metrics", "", 200); strings.Contains(now, `trade_component_running{component="collector_ids"}`) {
			return errors.New("the collector IDs have not been compared")
		}
		return nil
	})
	if said := log.String(); strings.Count(said, "waiting for the solver database") != 1 || strings.Contains(said, "has failed") {
		t.Errorf("it does not wait quietly, but says %s", said)
	}
	begun := time.Now()
	stop()
	running.Wait()
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// A web server whose database is used with other collector IDs ends, but not because the database is away. Until it knows,
// it adds no collectors.
func TestWebServerWithOtherCollectors(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.migrate(t)
	if _, _, err := d.db.ClaimCollectorRange(t.Context(), 0x100, 0x103); err != nil {
		t.Fatal(err)
	}
	proxy := testenv.NewProxy(t, strings.TrimPrefix(d.environment[0], "SOLVER_POSTGRES_URL="))
	proxy.Refuse()
	port := testenv.FreePort(t)
	d.environment = append(d.environment, "SOLVER_POSTGRES_URL="+proxy.URL(), "APP_UNPROTECTED_ADMIN_API=true",
		"WEBSERVER_PORT="+strconv.Itoa(port))
	ended := make(chan result, 1)
	go func() { ended <- d.run(context.WithoutCancel(t.Context()), cli.NewWebServerCommand) }()
	site := fmt.Sprintf("http://127.0.0.1:%d/trade/", port)
	awaitAnswer(t, "GET", site+"health/check/public", "", 200)
	awaitAnswer(t, "POST", site+"collectors/9/activate", "", 503)
	proxy.Accept()
	r := <-ended
	const refusal = "configuration error: MIN_COLLECTOR_ID: database belongs to 0x0000000000000100-0x0000000000000103"
	if r.code != cli.ExitFailure || !strings.Contains(r.stdout, refusal) {
		t.Errorf("it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
	}
}

// Nothing is served by no processes, or without protection that nobody has asked to leave out.
func TestWebServerConfiguration(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	r := d.run(t.Context(), cli.NewWebServerCommand)
	if r.code != cli.ExitFailure || !strings.Contains(r.stdout, "configuration error: OAUTH2_INTROSPECT_URL: missing") {
		t.Errorf("without tokens, it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
	}
	d.environment = append(d.environment, "APP_CREDITOR_SUBJECT_REGEX=(", "WEBSERVER_PORT=0", "WEBSERVER_THREADS=0")
	r = d.run(t.Context(), cli.NewWebServerCommand)
	for _, variable := range []string{"APP_CREDITOR_SUBJECT_REGEX", "WEBSERVER_PORT", "WEBSERVER_THREADS", "OAUTH2_INTROSPECT_URL"} {
		if r.code != cli.ExitFailure || !strings.Contains(r.stdout, "configuration error: "+variable+": ") {
			t.Errorf("it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
		}
	}
}

func TestWebServerVariants(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		variable string
		serves   bool
	}{
		"unprotected":  {"WEBSERVER_PROCESSES=1", true},
		"no processes": {"WEBSERVER_PROCESSES=0", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t)
			d.migrate(t)
			port, statusPort := testenv.FreePort(t), testenv.FreePort(t)
			d.environment = append(d.environment, c.variable, "APP_UNPROTECTED_ADMIN_API=true",
				"WEBSERVER_PORT="+strconv.Itoa(port), "APP_STATUS_PORT="+strconv.Itoa(statusPort))
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if r := d.run(ctx, cli.NewWebServerCommand); r.code != cli.ExitSuccess ||
					strings.Count(r.stdout, "variable=APP_UNPROTECTED_ADMIN_API") != 1 ||
					strings.Count(r.stdout, ":WARNING:") != 1 {
					t.Errorf("it ends with %d, and says %s%s", r.code, r.stdout, r.stderr)
				}
			})
			defer running.Wait()
			defer stop()
			awaitAnswer(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/readyz", statusPort), "", 200)
			url := fmt.Sprintf("http://127.0.0.1:%d/trade/turns", port)
			if c.serves {
				awaitAnswer(t, "GET", url, "", 200)
			} else if code, _, err := request("GET", url, ""); err == nil {
				t.Errorf("it is answered with %d", code)
			}
		})
	}
}
