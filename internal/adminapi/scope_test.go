package adminapi

import (
	"net/http"
	"net/url"
	"testing"
)

const refusedAtOnce = "refused" // no scope has this name

func TestRequiredScope(t *testing.T) {
	t.Parallel()
	for request, want := range map[[2]string]string{
		{"OPTIONS", "/trade/"}:                     "",
		{"OPTIONS", "/trade/collectors/1"}:         "",
		{"OPTIONS", "/"}:                           refusedAtOnce,
		{"OPTIONS", "*"}:                           refusedAtOnce,
		{"GET", "/trade/.docs"}:                    "",
		{"GET", "/trade/.docs/"}:                   "",
		{"HEAD", "/trade/.docs/a/b"}:               "",
		{"GET", "/trade/.docsx"}:                   scopeRead,
		{"GET", "/trade/x/.docs/"}:                 scopeRead,
		{"GET", "/trade/health/check/public"}:      "",
		{"HEAD", "/trade/x.public"}:                "",
		{"GET", "/trade/x-public"}:                 "",
		{"GET", "/trade/public"}:                   "",
		{"GET", "/trade/xpublic"}:                  scopeRead,
		{"GET", "/trade/x_public"}:                 scopeRead,
		{"GET", "/trade/public/"}:                  scopeRead,
		{"GET", "/trade/x/publicx"}:                scopeRead,
		{"GET", "/trade/x/PUBLIC"}:                 scopeRead,
		{"GET", "/trade/x/public\n"}:               scopeRead,
		{"POST", "/trade/x/public"}:                scopeWrite,
		{"GET", "/trade/turns"}:                    scopeRead,
		{"GET", "/trade/"}:                         scopeRead,
		{"HEAD", "/trade/x/activate"}:              scopeRead,
		{"POST", "/trade/x/lookup"}:                scopeRead,
		{"POST", "/trade/x.lookup"}:                scopeRead,
		{"POST", "/trade/x-reserve"}:               scopeActivate,
		{"POST", "/trade/collectors/1/activate"}:   scopeActivate,
		{"POST", "/trade/xactivate"}:               scopeWrite,
		{"POST", "/trade/activate/"}:               scopeWrite,
		{"POST", "/trade/x/ACTIVATE"}:              scopeWrite,
		{"POST", "/trade/x/deactivate"}:            scopeDeactivate,
		{"POST", "/trade/.docs/"}:                  scopeWrite,
		{"POST", "/trade/"}:                        scopeWrite,
		{"PUT", "/trade/x"}:                        scopeWrite,
		{"PATCH", "/trade/x"}:                      scopeWrite,
		{"DELETE", "/trade/x"}:                     scopeWrite,
		{"PUT", "/trade/x/lookup"}:                 refusedAtOnce,
		{"PATCH", "/trade/x/reserve"}:              refusedAtOnce,
		{"DELETE", "/trade/x/activate"}:            refusedAtOnce,
		{"PUT", "/trade/x-deactivate"}:             refusedAtOnce,
		{"TRACE", "/trade/x"}:                      refusedAtOnce,
		{"CONNECT", "/trade/x"}:                    refusedAtOnce,
		{"get", "/trade/x"}:                        refusedAtOnce,
		{"", "/trade/x"}:                           refusedAtOnce,
		{"GET", "/trade"}:                          refusedAtOnce,
		{"GET", "/"}:                               refusedAtOnce,
		{"GET", ""}:                                refusedAtOnce,
		{"GET", "/tradex/public"}:                  refusedAtOnce,
		{"GET", "/Trade/turns"}:                    refusedAtOnce,
		{"GET", "trade/turns"}:                     refusedAtOnce,
		{"GET", "/trade/.docs/../turns"}:           refusedAtOnce,
		{"GET", "/trade/.docs/%2e%2e/turns"}:       refusedAtOnce,
		{"GET", "/trade//turns"}:                   refusedAtOnce,
		{"GET", "//trade/turns"}:                   refusedAtOnce,
		{"GET", "/trade/./turns"}:                  refusedAtOnce,
		{"GET", "/trade/turns//"}:                  refusedAtOnce,
		{"GET", "/trade/turns%2F1"}:                refusedAtOnce,
		{"GET", "/trade/turns/1%2Fpublic"}:         refusedAtOnce,
		{"POST", "/trade/collectors/1%2factivate"}: refusedAtOnce,
	} {
		target := &url.URL{Path: request[1]}
		if parsed, err := url.ParseRequestURI(request[1]); err == nil {
			target = parsed
		}
		got, known := requiredScope(request[0], target)
		if !known {
			got = refusedAtOnce
		}
		if got != want {
			t.Errorf("%s %q requires %q, want %q", request[0], request[1], got, want)
		}
	}
}

func TestIncludes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		granted, required string
		want              bool
	}{
		{"", "", true},
		{"", "access", false},
		{"access", "access", true},
		{"access", "access.readonly", true},
		{"access.readonly", "access.readonly", true},
		{"access.readonly", "access", false},
		{"access", "activate", false},
		{"access.readonly", "activate", false},
		{"activate", "access.readonly", false},
		{"activate", "deactivate", false},
		{"deactivate", "activate", false},
		{"activate.x", "activate", false},
		{"acc", "access", false},
		{"access.", "access.readonly", false},
		{".", "access", false},
		{"access.read", "access.readonly", false},
		{"Access", "access", false},
		{"x access  activate", "activate", true},
		{"x\taccess", "access", false},
		{" ", "access", false},
	} {
		if got := includes(c.granted, c.required); got != c.want {
			t.Errorf("%q includes %q: %v", c.granted, c.required, got)
		}
	}
}

// A path from which the gate asks for no token leads to no operation that needs one.
func FuzzRequiredScope(f *testing.F) {
	f.Add("GET", "/trade/.docs/../turns")
	f.Add("GET", "/trade/turns/1.public")
	f.Add("POST", "/trade/collectors/1/activate")
	routes, err := new(API).routes()
	if err != nil {
		f.Fatal(err)
	}
	protected := map[string]string{
		"GET /trade/turns":                           scopeRead,
		"GET /trade/turns/{turnId}":                  scopeRead,
		"GET /trade/workers":                         scopeRead,
		"GET /trade/collectors/{debtorId}":           scopeRead,
		"POST /trade/collectors/{debtorId}/activate": scopeActivate,
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		target, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		scope, known := requiredScope(method, target)
		if !known {
			return
		}
		_, pattern := routes.(*router).Handler(&http.Request{Method: method, URL: target})
		id := target.Path[len(root):]
		if want := protected[pattern]; want != "" && scope != want && !publicPath.MatchString(id) {
			t.Errorf("%s %q leads to %s, but needs %q", method, path, pattern, scope)
		}
	})
}
