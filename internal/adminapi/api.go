package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/cors"
	"golang.org/x/sync/singleflight"

	"github.com/circular-trade/circular-trade/internal/collector"
	"github.com/circular-trade/circular-trade/internal/oauth"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
)

// Config is what an [API] works with.
type Config struct {
	// DB is the solver database.
	DB *solverdb.DB

	// Pool has the IDs that collectors can have.
	Pool collector.Pool

	// ClaimPool returns an error unless the database is used with the IDs of the pool. It is called before collectors are
	// added.
	ClaimPool func(context.Context) error

	// Tokens introspects tokens. It may only be nil if the API is unprotected.
	Tokens *oauth.Introspector

	// Unprotected has everybody be a superuser, without a token. It is for development.
	Unprotected bool

	Identities Identities
	Limits     Limits

	// SwaggerUI is the URL of a directory with the files of Swagger UI, for a page of its own. Empty: there is none.
	SwaggerUI string

	Metrics *Metrics
	Logger  *slog.Logger

	// Now returns the present.
	Now func() time.Time
}

// An API answers requests.
type API struct {
	Config
	handler   http.Handler
	readiness singleflight.Group
}

var (
	errNoIntrospection = errors.New("an admin API that is protected needs to know where tokens are introspected")
	errLimits          = errors.New("each limit of the admin API has to be positive")
)

// New returns an API. It fails if the configuration makes no sense.
func New(config Config) (*API, error) {
	if config.Tokens == nil && !config.Unprotected {
		return nil, errNoIntrospection
	}
	if l := config.Limits; l.Concurrent <= 0 || l.Waiting <= 0 || l.QueueTime <= 0 || l.RequestTime <= 0 ||
		l.BodyTime <= 0 || l.Rate <= 0 || l.Burst <= 0 {
		return nil, errLimits
	}
	a := &API{Config: config}
	routes, err := a.routes()
	if err != nil {
		return nil, err
	}
	clients, err := newClients(config.Limits)
	if err != nil {
		return nil, fmt.Errorf("making a memory for clients: %w", err)
	}
	gate := &gate{
		tokens: config.Tokens, unprotected: config.Unprotected, identities: config.Identities, limits: config.Limits,
		slots: newSlots(config.Limits), logger: config.Logger, next: noteRoute(routes),
	}
	a.handler = observe(crossOrigin(clients.limit(gate)), config.Metrics, config.Logger)
	return a, nil
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.handler.ServeHTTP(w, r)
}

// crossOrigin lets pages of all origins use the API. That is safe: browsers do not add tokens by themselves.
func crossOrigin(next http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowedOrigins:     []string{"*"},
		AllowedMethods:     []string{"POST", "GET", "PUT", "PATCH", "DELETE"},
		AllowedHeaders:     []string{"Authorization", "Content-Type", "X-Requested-With"},
		ExposedHeaders:     []string{"Content-Type", "Location"},
		MaxAge:             86400,
		OptionsPassthrough: true,
	}).Handler(next)
}

// routes returns what answers requests that the gate lets in.
func (a *API) routes() (http.Handler, error) {
	useErrors()
	mux := &router{ServeMux: http.NewServeMux(), methods: map[string][]string{}}
	api := humago.New(mux, huma.Config{
		OpenAPI: description(),
		Formats: map[string]huma.Format{"application/json": huma.DefaultJSONFormat},
	})
	a.addHealth(api)
	a.addCollectors(api)
	a.addTurns(api)
	a.addWorkers(api)
	if err := addDocs(mux, api.OpenAPI(), a.SwaggerUI); err != nil {
		return nil, err
	}
	mux.finish()
	return mux, nil
}

// A router answers requests by path and method, and others with an [Error].
type router struct {
	*http.ServeMux
	methods map[string][]string // by path
}

// HandleFunc adds a route, whose pattern consists of a method and a path. For GET, there is HEAD, too.
func (m *router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(handler))
}

// Handle does the same.
func (m *router) Handle(pattern string, handler http.Handler) {
	method, path := splitPattern(pattern)
	m.ServeMux.Handle(pattern, handler)
	m.methods[path] = append(m.methods[path], method)
	if method == http.MethodGet {
		m.methods[path] = append(m.methods[path], http.MethodHead)
	}
}

// finish adds answers to requests that no route takes.
func (m *router) finish() {
	for path, methods := range m.methods {
		m.ServeMux.Handle(path, methodNotAllowed(append(methods, http.MethodOptions)))
	}
	m.ServeMux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		newError(http.StatusNotFound, noRoute).write(w)
	})
}

// An operation is a route that is a part of the OpenAPI document.
type operation struct {
	id, method, path, tag, summary, description string

	scope  string                          // what a token needs, or noScope
	errors []int                           // status codes, apart from those that a scope brings with it
	isPath func(context huma.Context) bool // whether there is such a path; nil: there is
}

// define makes what huma needs to know of an operation.
func (o operation) define() huma.Operation {
	defined := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Tags: []string{o.tag},
		Summary: o.summary, Description: o.description, Errors: o.errors,
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
			if refusal := o.refuse(ctx); refusal != nil {
				_, w := humago.Unwrap(ctx)
				refusal.write(w)
				return
			}
			ctx.SetHeader("Cache-Control", "no-store")
			next(ctx)
		}},
	}
	if o.scope != noScope {
		defined.Security = []map[string][]string{{securityScheme: {o.scope}}}
		defined.Errors = append([]int{
			http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity,
			http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable,
		}, o.errors...)
	}
	return defined
}

// refuse returns why a request must not get to the operation, or nil. The gate has looked at the scope before, but it
// knows less of operations.
func (o operation) refuse(ctx huma.Context) *Error {
	if o.isPath != nil && !o.isPath(ctx) {
		return newError(http.StatusNotFound, noRoute)
	}
	if o.scope == noScope {
		return nil
	}
	who, found := callerOf(ctx.Context())
	switch {
	case !found:
		return newError(http.StatusUnauthorized, noToken)
	case !includes(who.scopes, o.scope) || who.role == nobody:
		return newError(http.StatusForbidden, notAllowed)
	default:
		return nil
	}
}

// failure returns the answer to a request that could not be served because of the database.
func (a *API) failure(ctx context.Context, doing string, err error) error {
	a.Logger.ErrorContext(ctx, "a request has failed", slog.String("doing", doing), slog.Any("error", err))
	if ctx.Err() != nil || postgres.IsUnreachable(err) {
		return newError(http.StatusServiceUnavailable, notFinished)
	}
	if migrated, err := a.DB.Migrated(ctx); err == nil && !migrated {
		return newError(http.StatusServiceUnavailable, notSetUp)
	}
	return newError(http.StatusInternalServerError, failed)
}
