package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

var (
	// ErrInactive tells that a token has expired, was revoked, or has never been valid.
	ErrInactive = errors.New("the token is not valid, or not any more")

	// ErrUnavailable tells that the authorization server could not be asked, or has given an answer that makes no sense.
	ErrUnavailable = errors.New("the authorization server does not tell whether the token is valid")
)

const (
	// Timeout is how long asking the authorization server may take, the second attempt included.
	Timeout = 5 * time.Second

	// CacheTime is how long an answer counts at most.
	CacheTime = 5 * time.Minute

	maxCached      = 10_000
	maxAnswerBytes = 64 << 10
)

// Config is what an [Introspector] works with.
type Config struct {
	// URL is where tokens are introspected. If it has a user and a password, they are sent along.
	URL string

	// MaxConnections is how many connections to the authorization server are kept open for further questions.
	MaxConnections int

	// Now returns the present.
	Now func() time.Time

	// Metrics may be nil.
	Metrics *Metrics
}

// An Introspector asks an authorization server about tokens. It can be used by several goroutines at a time.
type Introspector struct {
	url     string
	client  *http.Client
	now     func() time.Time
	metrics *Metrics
	cache   *lru.Cache[digest, cached]
	calls   singleflight.Group
}

// A digest stands for a token wherever something is kept. Nobody who sees it can use it as one.
type digest [sha256.Size]byte

// A cached answer counts until some instant.
type cached struct {
	token Token
	until time.Time
}

// NewIntrospector returns an introspector. The caller has to close it.
func NewIntrospector(config Config) (*Introspector, error) {
	parsed, err := url.Parse(config.URL)
	if err != nil || parsed.Host == "" {
		return nil, errors.New("the URL for token introspection is not valid") // it may contain a password
	}
	cache, err := lru.New[digest, cached](maxCached)
	if err != nil {
		return nil, fmt.Errorf("making a cache for tokens: %w", err)
	}
	return &Introspector{
		url: config.URL,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            (&net.Dialer{Timeout: Timeout}).DialContext,
				ForceAttemptHTTP2:      true,
				MaxIdleConnsPerHost:    config.MaxConnections,
				IdleConnTimeout:        time.Minute,
				TLSHandshakeTimeout:    Timeout,
				MaxResponseHeaderBytes: maxAnswerBytes,
				DisableCompression:     true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now:     config.Now,
		metrics: config.Metrics,
		cache:   cache,
	}, nil
}

// Close closes the connections that are kept open. Nobody may ask about a token any more.
func (i *Introspector) Close() {
	i.client.CloseIdleConnections()
}

// Introspect returns what a token stands for. It fails with [ErrInactive] or [ErrUnavailable], after [Timeout] at the
// latest. Those who want to know about the same token at the same time wait for the same answer. If whoever has asked for
// it goes away, because the context ends, another one of them asks again.
func (i *Introspector) Introspect(ctx context.Context, token string) (Token, error) {
	key := digest(sha256.Sum256([]byte(token)))
	if known, found := i.cache.Get(key); found {
		if i.now().Before(known.until) {
			i.metrics.count(outcomeCached)
			return known.token, nil
		}
		i.cache.Remove(key)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	for {
		answer, err, _ := i.calls.Do(string(key[:]), func() (any, error) { return i.ask(ctx, key, token) })
		switch {
		case err == nil:
			return answer.(Token), nil
		case !errors.Is(err, context.Canceled) || ctx.Err() != nil:
			return Token{}, err
		}
	}
}

// ask asks the server, and remembers its answer.
func (i *Introspector) ask(ctx context.Context, key digest, token string) (Token, error) {
	begun := time.Now()
	answer, err := i.call(ctx, token)
	if !errors.Is(err, context.Canceled) { // that tells nothing of the server
		i.metrics.observe(time.Since(begun), err)
	}
	if err != nil {
		return Token{}, err
	}
	until := i.now().Add(CacheTime)
	if !answer.ExpiresAt.IsZero() && answer.ExpiresAt.Before(until) {
		until = answer.ExpiresAt
	}
	i.cache.Add(key, cached{answer, until})
	return answer, nil
}

func (i *Introspector) call(ctx context.Context, token string) (Token, error) {
	response, err := i.post(ctx, token)
	if isConnectionError(err) { // such as one that was kept open for too long
		response, err = i.post(ctx, token)
	}
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return Token{}, fmt.Errorf("%w: it answers with the status %d", ErrUnavailable, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return Token{}, fmt.Errorf("%w: reading its answer: %w", ErrUnavailable, err)
	}
	if len(body) > maxAnswerBytes {
		return Token{}, fmt.Errorf("%w: its answer has more than %d bytes", ErrUnavailable, maxAnswerBytes)
	}
	return parseAnswer(body, i.now())
}

// post sends the question. Errors do not contain the token, which is in the body.
func (i *Introspector) post(ctx context.Context, token string) (*http.Response, error) {
	form := url.Values{"token": {token}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("X-Forwarded-Proto", "https") // the usual authorization server refuses plain HTTP otherwise
	return i.client.Do(request)
}

// isConnectionError reports whether a request has failed before there was any answer, and not because of the time.
func isConnectionError(err error) bool {
	var network net.Error
	return err != nil && !(errors.As(err, &network) && network.Timeout())
}
