package adminapi

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// The scopes that tokens can have. They are hierarchic: access includes access.readonly.
const (
	scopeRead       = "access.readonly"
	scopeWrite      = "access"
	scopeActivate   = "activate"
	scopeDeactivate = "deactivate"

	// noScope is what everybody has.
	noScope = ""
)

const root = "/trade/"

// What a path is for can be seen from its last word.
var (
	publicPath = regexp.MustCompile(`[./-]public\z`)
	deed       = regexp.MustCompile(`[./-](lookup|reserve|activate|deactivate)\z`)
)

var deedScopes = map[string]string{
	"lookup":     scopeRead,
	"reserve":    scopeActivate,
	"activate":   scopeActivate,
	"deactivate": scopeDeactivate,
}

// requiredScope returns the scope that a request needs. If there cannot be such a request, known is false. It looks at
// nothing but the method and the path, in the way of operations.md, section 5.2.
func requiredScope(method string, target *url.URL) (scope string, known bool) {
	requested := target.Path
	if !strings.HasPrefix(requested, root) || !plain(target) {
		return "", false
	}
	switch method {
	case http.MethodOptions:
		return noScope, true
	case http.MethodGet, http.MethodHead:
		if requested == "/trade/.docs" || strings.HasPrefix(requested, "/trade/.docs/") || publicPath.MatchString(requested) {
			return noScope, true
		}
		return scopeRead, true
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		found := deed.FindStringSubmatch(requested)
		switch {
		case found == nil:
			return scopeWrite, true
		case method == http.MethodPost:
			return deedScopes[found[1]], true
		}
	}
	return "", false
}

// plain reports whether a path can be read in one way only: it has no dots to be resolved, no empty segments, and nothing
// that is escaped without need. Otherwise, whoever decides who may come in could read it in another way than whoever
// answers.
func plain(target *url.URL) bool {
	cleaned := path.Clean(target.Path)
	return target.RawPath == "" && (target.Path == cleaned || target.Path == cleaned+"/")
}

// includes reports whether granted scopes, separated by spaces, include a required one: the dot-separated parts of one of
// them are the first parts of it.
func includes(granted, required string) bool {
	if required == noScope {
		return true
	}
	for scope := range strings.SplitSeq(granted, " ") {
		if scope != "" && (scope == required || strings.HasPrefix(required, scope+".")) {
			return true
		}
	}
	return false
}
