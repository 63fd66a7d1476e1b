package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// Reasons for which a document is not to be had. Whoever tries again later may find things changed.
var (
	// ErrRedirect tells that a server sends the client to a place where it does not go, or from place to place.
	ErrRedirect = errors.New("bad redirect")
	// ErrMediaType tells that what the server sends is of another media type.
	ErrMediaType = errors.New("wrong media type")
	// ErrEncoded tells that what the server sends is compressed, which it was asked not to do.
	ErrEncoded = errors.New("the content is encoded")
	// ErrTooLong tells that the document is longer than allowed.
	ErrTooLong = errors.New("the document is too long")
)

// A StatusError tells that a server has answered with another status than 200.
type StatusError struct{ Status int }

// Error implements error.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status)))
}

const (
	maxRedirects   = 2
	maxHeaderBytes = 16 << 10
	maxDrainBytes  = 4 << 10 // of a body that nobody reads, so that the connection can be used again
	idleTimeout    = 30 * time.Second
	userAgent      = "circular-trade"
)

// Config is what a [Client] needs to know.
type Config struct {
	MediaType       string        // of the documents; parameters are ignored
	Timeout         time.Duration // for a whole fetch, from looking up the name to the last byte
	Connections     int           // that are kept for further use
	HostConnections int           // to one host at the same time
	MaxBodyBytes    int64         // of a document

	Roots      *x509.CertPool // trusted certificates; nil: those of the system
	SkipVerify bool           // do not verify certificates
	// AllowPrivate allows connections to addresses that are not public.
	AllowPrivate bool

	// For tests. Nil: the network.
	Resolver Resolver
	Connect  func(ctx context.Context, address netip.AddrPort) (net.Conn, error)
}

// A Client downloads documents. Any number of goroutines can use it at the same time; how many do is up to the caller.
type Client struct {
	config    Config
	transport *http.Transport
}

// NewClient returns a client, which has to be closed.
func NewClient(config Config) *Client {
	d := &dialer{
		resolver: config.Resolver, connect: config.Connect, allowPrivate: config.AllowPrivate, timeout: config.Timeout,
	}
	if d.resolver == nil {
		d.resolver = net.DefaultResolver
	}
	if d.connect == nil {
		d.connect = connectTCP
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &Client{
		config: config,
		transport: &http.Transport{
			DialContext: d.dial,
			TLSClientConfig: &tls.Config{
				MinVersion: tls.VersionTLS12,
				RootCAs:    config.Roots,
				// Operators can choose that for set-ups in which nothing is worth protecting.
				InsecureSkipVerify: config.SkipVerify, //nolint:gosec // see above
			},
			Protocols: protocols,
			// For handshakes that have outlived their request. It must not come before the end of the request.
			TLSHandshakeTimeout:    2 * config.Timeout,
			MaxConnsPerHost:        config.HostConnections,
			MaxIdleConns:           config.Connections,
			MaxIdleConnsPerHost:    config.HostConnections,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			DisableCompression:     true,
		},
	}
}

// LoadRoots reads trusted certificates from a file in the format PEM. An empty path, or no such file, stands for those
// of the system, which are returned as nil.
func LoadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // that is how the standard library has it
	}
	pem, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // that is how the standard library has it
	}
	if err != nil {
		return nil, fmt.Errorf("reading trusted certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading trusted certificates: %s has none in the format PEM", path)
	}
	return roots, nil
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Get downloads a document. Errors are [ErrMalformed], with which there is no use in trying again; a *[StatusError]; a
// *[RefusedError]; [ErrRedirect], [ErrMediaType], [ErrEncoded], [ErrTooLong]; and all that can go wrong with networks
// and certificates. When the time is up, the error wraps [context.DeadlineExceeded].
func (c *Client) Get(ctx context.Context, iri string) ([]byte, error) {
	target, err := parseIRI(iri)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	for redirects := 0; ; redirects++ {
		response, err := c.transport.RoundTrip(c.request(ctx, target))
		if err != nil {
			return nil, inTime(ctx, err)
		}
		location := redirectOf(response)
		if location == "" {
			body, err := c.read(response)
			if err := inTime(ctx, err); err != nil {
				return nil, err
			}
			return body, nil
		}
		discard(response)
		if redirects == maxRedirects {
			return nil, fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
		}
		if target, err = resolve(target, location); err != nil {
			return nil, fmt.Errorf("%w: the target is %v", ErrRedirect, err) //nolint:errorlint // a redirect can change
		}
	}
}

// inTime returns the error, or that the time is up, or that nobody wants the result any more, if that is the reason. A
// server that notices it may still end its answer, before it was complete.
func inTime(ctx context.Context, err error) error {
	switch late := ctx.Err(); {
	case late == nil || errors.Is(err, late):
		return err
	case err == nil:
		return late
	default:
		return fmt.Errorf("%w: %w", late, err)
	}
}

func (c *Client) request(ctx context.Context, target *url.URL) *http.Request {
	request := &http.Request{
		Method: http.MethodGet,
		URL:    target,
		Host:   target.Host,
		Header: http.Header{
			"Accept":          {c.config.MediaType},
			"Accept-Encoding": {"identity"},
			"User-Agent":      {userAgent},
		},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return request.WithContext(ctx)
}

// redirectOf returns where a server sends the client, or "".
func redirectOf(response *http.Response) (location string) {
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		return response.Header.Get("Location")
	default:
		return ""
	}
}

// read returns the body of an answer that is not a redirect, if it is a document.
func (c *Client) read(response *http.Response) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		discard(response)
		return nil, &StatusError{response.StatusCode}
	}
	defer func() { _ = response.Body.Close() }() // all that is wanted has been read
	if !isOfType(response.Header.Get("Content-Type"), c.config.MediaType) {
		return nil, ErrMediaType
	}
	for _, encoding := range response.Header.Values("Content-Encoding") {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return nil, ErrEncoded
		}
	}
	limit := c.config.MaxBodyBytes
	if response.ContentLength > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrTooLong, response.ContentLength, limit)
	}
	var body bytes.Buffer
	body.Grow(int(max(0, response.ContentLength) + bytes.MinRead)) // the latter to notice the end
	if _, err := body.ReadFrom(io.LimitReader(response.Body, limit+1)); err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	if int64(body.Len()) > limit {
		return nil, fmt.Errorf("%w: at most %d bytes are allowed", ErrTooLong, limit)
	}
	return body.Bytes(), nil
}

// isOfType compares a Content-Type with a media type.
func isOfType(contentType, mediaType string) bool {
	essence, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.Trim(essence, " \t"), mediaType)
}

// discard reads what is left of an answer, unless that is much.
func discard(response *http.Response) {
	if response.ContentLength <= maxDrainBytes {
		_, _ = io.CopyN(io.Discard, response.Body, maxDrainBytes) // if that fails, the connection is not used again
	}
	_ = response.Body.Close()
}
