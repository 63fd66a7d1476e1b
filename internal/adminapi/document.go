package adminapi

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"
)

// The tags of operations.
const (
	tagCollectors = "collectors"
	tagHealth     = "health"
	tagMonitoring = "monitoring" // what swpt_trade does not have
)

const securityScheme = "oauth2"

// description returns the OpenAPI document as it is before operations are added. The words that begin with "$" stay as
// they are: the image that shows the document replaces them.
func description() *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "Trade API", Version: "v1"},
		Servers: []*huma.Server{{URL: "$API_ROOT"}, {URL: "/"}},
		Tags: []*huma.Tag{
			{Name: tagCollectors, Description: "Manage collector accounts."},
			{Name: tagHealth, Description: "Check whether the server is alive."},
			{Name: tagMonitoring, Description: "Look into the node."},
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{securityScheme: {
				Type: "oauth2",
				Flows: &huma.OAuthFlows{ClientCredentials: &huma.OAuthFlow{ //nolint:gosec // there is nothing secret in it
					TokenURL:   "$OAUTH2_TOKEN_URL",
					RefreshURL: "$OAUTH2_REFRESH_URL",
					Scopes: map[string]string{
						scopeRead:       "read-only access",
						scopeWrite:      "read-write access",
						scopeActivate:   "activate collectors",
						scopeDeactivate: "deactivate collectors",
					},
				}},
			}},
		},
	}
}

// version is that of the OpenAPI specification. Huma writes a later one, and can downgrade to this.
const version = "3.0.2"

// document returns the OpenAPI document as JSON.
func document(api *huma.OpenAPI) ([]byte, error) {
	text, err := api.Downgrade()
	if err != nil {
		return nil, fmt.Errorf("making the OpenAPI document: %w", err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	members["openapi"] = version
	return json.MarshalIndent(members, "", "  ")
}

const docsPath = "/trade/.docs/"

var (
	//go:embed page.html show.js
	pages embed.FS

	pageTemplate = template.Must(template.ParseFS(pages, "page.html"))
)

// addDocs adds the OpenAPI document, a page that shows it with Swagger UI, and if there is a URL with other files of
// Swagger UI, one that uses those.
func addDocs(mux *router, api *huma.OpenAPI, swaggerUI string) error {
	text, err := document(api)
	if err != nil {
		return err
	}
	mux.HandleFunc("GET "+docsPath+"openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // who has asked may be gone
	})
	mux.HandleFunc("GET "+docsPath+"show.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pages, "show.js")
	})
	assets := http.StripPrefix(docsPath+"assets/", statigz.FileServer(static.FS))
	for _, file := range []string{"swagger-ui.css", "swagger-ui-bundle.js"} {
		mux.Handle("GET "+docsPath+"assets/"+file, assets)
	}
	mux.Handle("GET "+path.Clean(docsPath), http.RedirectHandler(docsPath, http.StatusPermanentRedirect))
	if err := addPage(mux, docsPath+"{$}", "assets/", ""); err != nil || swaggerUI == "" {
		return err
	}
	base, err := url.Parse(swaggerUI)
	if err != nil {
		return fmt.Errorf("the URL of Swagger UI: %w", err)
	}
	return addPage(mux, docsPath+"swagger-ui", strings.TrimSuffix(swaggerUI, "/")+"/", base.Scheme+"://"+base.Host)
}

// addPage adds a page that shows the document with the files of Swagger UI in a directory. It may load scripts from
// there and from this server.
func addPage(mux *router, place, assets, origin string) error {
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, assets); err != nil {
		return fmt.Errorf("making the page that shows the OpenAPI document: %w", err)
	}
	policy := fmt.Sprintf("default-src 'none'; connect-src *; script-src 'self' %[1]s; style-src 'self' 'unsafe-inline' %[1]s; "+
		"img-src 'self' data: %[1]s; font-src 'self' %[1]s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", origin)
	mux.HandleFunc("GET "+place, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(page.Bytes()) // who has asked may be gone
	})
	return nil
}
