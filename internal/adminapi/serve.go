package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxConnections = 4096
	maxHeaderBytes = 16 << 10

	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = time.Minute // longer than a request can wait and take
	idleTimeout   = 2 * time.Minute

	// grace is for the requests that are being served when the server has to end.
	grace = 4 * time.Second
)

// ListenAndServe answers requests at an address, such as ":8080", until the context ends. Then it finishes what it is at,
// within a few seconds. Nothing is left over when it returns.
func (a *API) ListenAndServe(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for requests; is the port of another process configured? %w", err)
	}
	return a.Serve(ctx, listener)
}

// Serve does the same with a listener, and closes it.
func (a *API) Serve(ctx context.Context, listener net.Listener) error {
	a.Logger.InfoContext(ctx, "serving the admin API", slog.String("address", listener.Addr().String()))
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var requests sync.RWMutex // not a WaitGroup: a last request may begin while its end is awaited
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.RLock()
			defer requests.RUnlock()
			a.ServeHTTP(w, r)
		}),
		BaseContext:                  func(net.Listener) context.Context { return serving },
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(a.Logger.Handler(), slog.LevelDebug), // clients make most of these errors
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(listener, maxConnections)) }()
	select {
	case err := <-ended:
		cancel()
		_ = server.Close() // there is nothing left to do about what cannot be closed
		awaitAll(&requests)
		return fmt.Errorf("serving requests: %w", err)
	case <-ctx.Done():
	}
	finishing, stop := context.WithTimeout(serving, grace)
	defer stop()
	if err := server.Shutdown(finishing); err != nil {
		a.Logger.WarnContext(ctx, "some requests could not be finished in time", slog.Any("error", err))
		cancel()
		_ = server.Close() // as above
	}
	awaitAll(&requests)
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving requests: %w", err)
	}
	return nil
}

// awaitAll waits until all requests have been served.
func awaitAll(requests *sync.RWMutex) {
	requests.Lock()
	requests.Unlock() //nolint:gocritic,staticcheck // to have got it was all
}
