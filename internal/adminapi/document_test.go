package adminapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func get(tb testing.TB, handler http.Handler, path string) []byte {
	tb.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	if recorder.Code != http.StatusOK {
		tb.Fatalf("%s: %d %s", path, recorder.Code, recorder.Body)
	}
	return recorder.Body.Bytes()
}

// The document says what other software expects it to say.
func TestDocument(t *testing.T) {
	t.Parallel()
	document := loadDocument(t)
	if document.OpenAPI != "3.0.2" || document.Info.Title != "Trade API" || document.Info.Version != "v1" {
		t.Errorf("it begins with %s, %+v", document.OpenAPI, document.Info)
	}
	if s := document.Servers; len(s) != 2 || s[0].URL != "$API_ROOT" || s[1].URL != "/" {
		t.Errorf("the servers are %s", mustJSON(t, s))
	}
	scheme := document.Components.SecuritySchemes["oauth2"].Value
	flow := scheme.Flows.ClientCredentials
	if scheme.Type != "oauth2" || flow.TokenURL != "$OAUTH2_TOKEN_URL" || flow.RefreshURL != "$OAUTH2_REFRESH_URL" ||
		fmt.Sprint(slices.Sorted(maps.Keys(flow.Scopes))) != "[access access.readonly activate deactivate]" {
		t.Errorf("the security scheme is %s", mustJSON(t, scheme))
	}
	var operations []string
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			operations = append(operations, fmt.Sprintf("%s %s: %s %s %s", method, path, operation.OperationID,
				strings.Join(operation.Tags, ","), mustJSON(t, operation.Security)))
		}
	}
	slices.Sort(operations)
	want := []string{
		`GET /trade/collectors/{debtorId}: listCollectors monitoring [{"oauth2":["access.readonly"]}]`,
		`GET /trade/health/check/public: checkHealth health null`,
		`GET /trade/health/ready/public: checkReadiness monitoring null`,
		`GET /trade/turns/{turnId}: getTurn monitoring [{"oauth2":["access.readonly"]}]`,
		`GET /trade/turns: listTurns monitoring [{"oauth2":["access.readonly"]}]`,
		`GET /trade/workers: listWorkers monitoring [{"oauth2":["access.readonly"]}]`,
		`POST /trade/collectors/{debtorId}/activate: activateCollectors collectors [{"oauth2":["activate"]}]`,
	}
	if !slices.Equal(operations, want) {
		t.Errorf("the operations are\n%s", strings.Join(operations, "\n"))
	}
	for _, path := range []string{"/trade/collectors/{debtorId}", "/trade/collectors/{debtorId}/activate"} {
		for _, operation := range document.Paths.Find(path).Operations() {
			parameter := operation.Parameters.GetByInAndName("path", "debtorId")
			if parameter == nil || parameter.Schema.Value.Pattern != "^(0|[1-9][0-9]{0,19})$" {
				t.Errorf("%s has the parameters %s", path, mustJSON(t, operation.Parameters))
			}
		}
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// There is a page that needs nothing from elsewhere, and one that takes its files from where the operator wants it to.
func TestPages(t *testing.T) {
	t.Parallel()
	with, err := (&API{Config: Config{SwaggerUI: "https://cdn.example.com/swagger-ui-dist"}}).routes()
	if err != nil {
		t.Fatal(err)
	}
	page := string(get(t, with, "/trade/.docs/"))
	for _, file := range []string{"assets/swagger-ui.css", "assets/swagger-ui-bundle.js", "show.js"} {
		if !strings.Contains(page, `"`+file+`"`) || len(get(t, with, "/trade/.docs/"+file)) < 50 {
			t.Errorf("there is no %s in %s", file, page)
		}
	}
	if strings.Contains(page, "//") {
		t.Errorf("the page needs something from elsewhere: %s", page)
	}
	if page := string(get(t, with, "/trade/.docs/swagger-ui")); !strings.Contains(page,
		`src="https://cdn.example.com/swagger-ui-dist/swagger-ui-bundle.js"`) {
		t.Errorf("the page is %s", page)
	}
	without, err := new(API).routes()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/trade/.docs/swagger-ui":            404,
		"/trade/.docs/assets/":               404,
		"/trade/.docs/assets/embed.go":       404,
		"/trade/.docs/x":                     404,
		"/trade/.docs":                       308,
		"/trade/.docs/assets/swagger-ui.css": 200,
	} {
		recorder := httptest.NewRecorder()
		without.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if recorder.Code != want {
			t.Errorf("%s: %d, want %d", path, recorder.Code, want)
		}
	}
}
