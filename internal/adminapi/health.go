package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// readyTimeout is how long the database may take to answer before it counts as unavailable.
const readyTimeout = 2 * time.Second

const healthPath = "/trade/health/check/public"

// plainText is the output of operations that answer with a line of text.
type plainText struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func newPlainText(text string) *plainText {
	return &plainText{ContentType: "text/plain", Body: []byte(text)}
}

func (a *API) addHealth(api huma.API) {
	check := operation{
		id: "checkHealth", method: http.MethodGet, path: healthPath, tag: tagHealth,
		summary:     "Tell whether this server is alive",
		description: "It does not look at the database.",
	}.define()
	check.Responses = textResponse("The server is alive.")
	huma.Register(api, check, func(context.Context, *struct{}) (*plainText, error) {
		return newPlainText("I am healthy."), nil
	})

	ready := operation{
		id: "checkReadiness", method: http.MethodGet, path: "/trade/health/ready/public", tag: tagMonitoring,
		summary: "Tell whether this server can answer requests",
		errors:  []int{http.StatusServiceUnavailable},
	}.define()
	ready.Responses = textResponse("The solver database answers, and has been set up.")
	huma.Register(api, ready, func(ctx context.Context, _ *struct{}) (*plainText, error) {
		if err := a.ready(ctx); err != nil {
			return nil, err
		}
		return newPlainText("I am ready."), nil
	})
}

func textResponse(description string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: description,
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

// ready looks whether the database answers. As nobody needs a token for that, it is asked once at a time, however many
// want to know.
func (a *API) ready(ctx context.Context) error {
	_, err, _ := a.readiness.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
		defer cancel()
		migrated, err := a.DB.Migrated(ctx)
		switch {
		case err != nil:
			return nil, newError(http.StatusServiceUnavailable, "the solver database does not answer")
		case !migrated:
			return nil, newError(http.StatusServiceUnavailable, notSetUp)
		default:
			return nil, nil //nolint:nilnil // there is nothing to return
		}
	})
	return err
}
