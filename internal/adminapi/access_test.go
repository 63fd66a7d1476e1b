package adminapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/circular-trade/circular-trade/internal/adminapi"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

// The routes that need a token, with what they answer if they are allowed to.
var protectedRoutes = []struct {
	method, path, scope string
	code                int
}{
	{"POST", "/trade/collectors/5/activate", "activate", 204},
	{"GET", "/trade/collectors/5", "access.readonly", 200},
	{"HEAD", "/trade/collectors/5", "access.readonly", 200},
	{"GET", "/trade/turns", "access.readonly", 200},
	{"GET", "/trade/turns/1", "access.readonly", 200},
	{"GET", "/trade/workers", "access.readonly", 200},
}

// Scopes that tokens have, with those that they satisfy.
var grants = map[string][]string{
	"":                         nil,
	"access":                   {"access.readonly"},
	"access.readonly":          {"access.readonly"},
	"activate":                 {"activate"},
	"deactivate":               nil,
	"access.readonly activate": {"access.readonly", "activate"},
	"access access.readonly activate deactivate": {"access.readonly", "activate"},
	"access.readonly.x activate.x":               nil,
	"ACCESS ACTIVATE":                            nil,
	"access.readonly,activate":                   nil,
	"openid profile":                             nil,
}

// Identities, and whether they may do anything.
var identities = map[string]bool{
	"root":                               true,
	"rooty":                              false,
	"boss-1":                             true,
	"a boss-1":                           false,
	fmt.Sprintf("creditors:%d", ownerID): true,
	"creditors:1":                        false,
	"creditors:18446744073709551616":     false,
	"creditors:x":                        false,
	"somebody":                           false,
	"":                                   false,
}

// newTurnNode returns a node with a turn.
func newTurnNode(t *testing.T, changes ...func(*adminapi.Config)) *node {
	t.Helper()
	n := newMigratedNode(t, changes...)
	n.exec(t, `INSERT INTO turn (started_at, base_debtor_info_locator, base_debtor_id, max_distance_to_base, min_trade_amount,
		phase, phase_deadline) VALUES ($1, 'x', -1, 10, 1000, 1, $1)`, now)
	return n
}

// All routes, scopes and identities: those who may do something can, others cannot, and leave nothing behind.
func TestAccess(t *testing.T) {
	t.Parallel()
	n := newTurnNode(t)
	for scope, satisfied := range grants {
		for identity, allowed := range identities {
			token := n.token(identity, scope)
			if identity == "" {
				token = "nobody-" + token
				n.answers.Store(token, fmt.Sprintf(`{"active":true,"scope":%q}`, scope))
			}
			for _, route := range protectedRoutes {
				want := http.StatusForbidden
				hasScope := strings.Contains(" "+strings.Join(satisfied, " ")+" ", " "+route.scope+" ")
				if hasScope && allowed {
					want = route.code
				}
				r := n.as(token, route.method, route.path, "").must(t, want)
				challenge := r.Header().Get("WWW-Authenticate")
				if (challenge == `Bearer error="insufficient_scope"`) != !hasScope || hasScope && challenge != "" {
					t.Errorf("%s %s as %q with %q: the challenge is %q", route.method, route.path, identity, scope, challenge)
				}
				if want == 403 && n.count(t, "SELECT count(*) FROM collector_account") != 0 {
					t.Fatalf("%s %s as %q with %q has had an effect", route.method, route.path, identity, scope)
				}
				n.exec(t, "DELETE FROM collector_account")
			}
		}
	}
}

// Whatever is wrong with the token, or the authorization server, nobody gets in.
func TestTokens(t *testing.T) {
	t.Parallel()
	n := newTurnNode(t)
	valid := n.token("root", allScopes)
	n.answers.Store("failing", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	n.answers.Store("broken", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	n.answers.Store("redirected", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/?token="+valid, http.StatusTemporaryRedirect)
	}))
	n.answers.Store("huge", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(" ", 1<<16)+`{"active":true,"sub":"root","scope":"access activate"}`)
	}))
	for token, answer := range map[string]string{
		"garbage":  "\x00\x01",
		"html":     "<html></html>",
		"text":     `{"active":"true","sub":"root","scope":"access activate"}`,
		"inactive": `{"active":false,"sub":"root","scope":"access activate"}`,
		"expired":  fmt.Sprintf(`{"active":true,"sub":"root","scope":"access activate","exp":%d}`, now.Unix()-1),
		"refresh":  `{"active":true,"sub":"root","scope":"access activate","token_use":"refresh_token"}`,
		"lists":    `{"active":true,"sub":["root"],"scope":["access","activate"]}`,
		"access":   `{"active":true,"sub":"root","scope":"access activate","token_use":"access_token"}`,
		"username": `{"active":true,"sub":"","username":"root","scope":"access activate"}`,
	} {
		n.answers.Store(token, answer)
	}
	for header, want := range map[string]int{
		"":                         401,
		"Bearer":                   401,
		"Bearer ":                  401,
		"Basic cm9vdDpyb290":       401,
		"Token " + valid:           401,
		valid:                      401,
		"Bearer x y":               401,
		"Bearer " + valid + ",x":   401,
		"Bearer unknown":           401,
		"Bearer " + valid[1:]:      401,
		"Bearer töken":             401,
		"Bearer inactive":          401,
		"Bearer expired":           401,
		"Bearer refresh":           403,
		"Bearer failing":           502,
		"Bearer broken":            502,
		"Bearer redirected":        502,
		"Bearer huge":              502,
		"Bearer garbage":           502,
		"Bearer html":              502,
		"Bearer text":              502,
		"Bearer lists":             502,
		"Bearer access":            0,
		"Bearer username":          0,
		"Bearer " + valid:          0,
		"bEARER   " + valid + "  ": 0,
	} {
		for _, route := range protectedRoutes {
			var headers []string
			if header != "" {
				headers = []string{"Authorization", header}
			}
			code := want
			if want == 0 {
				code = route.code
			}
			r := n.do(route.method, route.path, "", append(headers, "X-Swpt-User-Id", "root")...).must(t, code)
			challenge := r.Header().Get("WWW-Authenticate")
			if (code == 401) != strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("%q: the challenge is %q", header, challenge)
			}
			if code != route.code && n.count(t, "SELECT count(*) FROM collector_account") != 0 {
				t.Fatalf("%q has had an effect", header)
			}
			n.exec(t, "DELETE FROM collector_account")
		}
	}
	n.do("GET", "/trade/turns", "", "Authorization", "Bearer "+valid, "Authorization", "Bearer "+valid).must(t, 401)
	if strings.Contains(n.log.String(), valid) || !strings.Contains(n.log.String(), `"identity":"root"`) {
		t.Errorf("the log is %s", &n.log)
	}
}

// What is wrong first is told first.
func TestOrderOfErrors(t *testing.T) {
	t.Parallel()
	n := newTurnNode(t)
	nobody, reader, creditor := n.token("root", ""), n.token("root", "access"), n.token("creditors:1", "access activate")
	const path = "/trade/collectors/5/activate"
	n.as("unknown", "PUT", path, "").must(t, 404)
	n.as("unknown", "POST", "/trade/x/activate", "").must(t, 401)
	n.as(nobody, "POST", "/trade/x/activate", "").must(t, 403)
	n.as(reader, "POST", path, "{").must(t, 403)
	n.as(reader, "GET", path, "").must(t, 405)
	n.as(reader, "DELETE", "/trade/turns", "").must(t, 405)
	n.as(creditor, "GET", "/trade/unknown", "").must(t, 404)
	n.as(creditor, "POST", "/trade/collectors/x/activate", "{").must(t, 404)
	n.as(creditor, "POST", path, "{").must(t, 403)
	n.as(creditor, "GET", "/trade/turns?limit=x", "").must(t, 403)
	n.root("POST", path, "{").must(t, 400)
	n.root("POST", path, "[]").must(t, 422)
	if r := n.root("PATCH", "/trade/turns", "").must(t, 405); r.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("allowed are %q", r.Header().Get("Allow"))
	}
	for _, target := range []string{"/", "/trade", "/x", "/trade/turns%2f1", "/trade//turns", "/trade/.docs/../turns"} {
		n.root("GET", target, "").must(t, 404)
	}
	if n.introspections.Load() > 6 {
		t.Errorf("there were %d introspections: some for nothing, or none was remembered", n.introspections.Load())
	}
}

// Some things are for everybody, and need no database.
func TestPublicRoutes(t *testing.T) {
	t.Parallel()
	n := newNode(t, "postgres://user@127.0.0.1:1/none")
	r := n.do("GET", "/trade/health/check/public", "").must(t, 200)
	if r.Body.String() != "I am healthy." || !strings.HasPrefix(r.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("it answers %q, %v", r.Body, r.Header())
	}
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{
			"/trade/health/check/public", "/trade/health/check/public?x=y", "/trade/.docs/", "/trade/.docs/openapi.json",
		} {
			n.do(method, path, "", "Authorization", "Bearer garbage").must(t, 200)
		}
	}
	n.do("GET", "/trade/.docs/swagger-ui", "").must(t, 404)
	n.do("GET", "/trade/turns/x.public", "").must(t, 404)
	n.do("GET", "/trade/collectors/public", "").must(t, 404)
	n.do("POST", "/trade/health/check/public", "").must(t, 401)
	n.do("GET", "/trade/health/ready/public", "").must(t, 503)
	if n.introspections.Load() != 0 {
		t.Error("there were introspections")
	}
	n.root("GET", "/trade/turns", "").must(t, 503)
	n.root("POST", "/trade/collectors/5/activate", "").must(t, 503)
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	n := newNode(t, testenv.NewDatabase(t))
	r := n.do("GET", "/trade/health/ready/public", "").must(t, 503)
	if !strings.Contains(r.Body.String(), "trade configure") {
		t.Errorf("it answers %s", r.Body)
	}
	newMigratedNode(t).do("GET", "/trade/health/ready/public", "").must(t, 200)
}

// Without protection, everybody may do everything. It takes more than a forgotten setting to get there.
func TestUnprotected(t *testing.T) {
	t.Parallel()
	n := newTurnNode(t, func(c *adminapi.Config) { c.Unprotected, c.Tokens = true, nil })
	for _, route := range protectedRoutes {
		n.do(route.method, route.path, "").must(t, route.code)
	}
	n.do("PUT", "/trade/x/activate", "").must(t, 404)
	if _, err := adminapi.New(adminapi.Config{Limits: adminapi.DefaultLimits(1)}); err == nil {
		t.Error("there is an API without tokens")
	}
	if _, err := adminapi.New(adminapi.Config{Unprotected: true}); err == nil {
		t.Error("there is an API without limits")
	}
}

// Pages of all origins may use the API.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	n := newNode(t, "postgres://user@127.0.0.1:1/none")
	preflight := n.do("OPTIONS", "/trade/collectors/5/activate", "", "Origin", "https://example.com",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,x-requested-with")
	preflight.must(t, 204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": "86400",
		"Access-Control-Allow-Headers": "authorization,content-type,x-requested-with", "Access-Control-Allow-Credentials": "",
	} {
		if got := preflight.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
		r := n.do("OPTIONS", "/trade/x", "", "Origin", "https://example.com", "Access-Control-Request-Method", method)
		if got := r.Header().Get("Access-Control-Allow-Methods"); got != method {
			t.Errorf("%s: %q", method, got)
		}
	}
	for path, code := range map[string]int{"/trade/turns": 401, "/x": 404, "/trade/health/check/public": 200} {
		r := n.do("GET", path, "", "Origin", "https://example.com").must(t, code)
		if r.Header().Get("Access-Control-Allow-Origin") != "*" ||
			r.Header().Get("Access-Control-Expose-Headers") != "Content-Type, Location" {
			t.Errorf("%s: %v", path, r.Header())
		}
	}
	n.do("OPTIONS", "/trade/x", "").must(t, 204)
	n.do("OPTIONS", "/x", "", "Origin", "https://example.com", "Access-Control-Request-Method", "GET").must(t, 404)
}

// Requests of any shape get an answer, and none of them gets to what it has no token for.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	n := newTurnNode(t)
	creditor := n.token("creditors:1", allScopes)
	limited := n.token("root", "deactivate")
	allowed := n.token("root", allScopes)
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.OneOf(
			rapid.StringMatching(`/trade(/(\.docs|turns|collectors|workers|activate|public|[0-9]{1,21}|\.\.|%2e%2e|%2[fF]|[ -~]{0,5})){0,4}`),
			rapid.StringMatching(`/[!-~]{0,20}`),
		).Draw(rt, "path")
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"}).Draw(rt, "method")
		body := rapid.OneOf(rapid.String(), rapid.StringMatching(`\{"(type|numberOfAccounts)":("[a-zA-Z]*"|-?[0-9]{1,20})\}`)).Draw(rt, "body")
		token := rapid.SampledFrom([]string{"", "unknown", creditor, limited, allowed}).Draw(rt, "token")
		request, err := http.NewRequest(method, "http://host"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		request.RequestURI, request.RemoteAddr = path, "192.0.2.1:1234"
		request.Header.Set("X-Forwarded-For", rapid.StringMatching(`[0-9a-f:., %]{0,20}`).Draw(rt, "from"))
		request.Header.Set("Content-Type", rapid.String().Draw(rt, "content type"))
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		recorder := httptest.NewRecorder()
		n.api.ServeHTTP(recorder, request)
		public := recorder.Code < 400 && (method == "OPTIONS" || strings.HasPrefix(path, "/trade/.docs") || strings.HasSuffix(path, "public"))
		if recorder.Code < 400 && !public && token != allowed {
			rt.Errorf("%s %s with %q: %d %s", method, path, token, recorder.Code, recorder.Body)
		}
		if recorder.Code == 500 && !strings.HasSuffix(path, "/activate") {
			rt.Errorf("%s %s: %s", method, path, recorder.Body)
		}
		if recorder.Code >= 400 {
			(reply{recorder}).must(t, recorder.Code)
		}
	})
	if strings.Contains(n.log.String(), "panic") {
		t.Errorf("the log is %s", &n.log)
	}
}

// However slow the authorization server is, those whose tokens are known do not wait for it; others do, for a while.
func TestSlowIntrospection(t *testing.T) {
	t.Parallel()
	n := newTurnNode(t)
	known := n.token("root", allScopes)
	n.as(known, "GET", "/trade/turns", "").must(t, 200)
	asked := make(chan struct{}, 1)
	n.answers.Store("slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	done := make(chan reply)
	begun := time.Now()
	go func() { done <- n.as("slow", "GET", "/trade/turns", "") }()
	<-asked
	n.as(known, "GET", "/trade/turns", "").must(t, 200)
	(<-done).must(t, 502)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
