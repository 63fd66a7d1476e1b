package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/fetch"
	"github.com/circular-trade/circular-trade/internal/fetch/fetchtest"
)

const mediaType = "application/vnd.swaptacular.coin-info+json"

// newClient returns a client of a web. Settings can be changed.
func newClient(t *testing.T, web *fetchtest.Web, change ...func(*fetch.Config)) *fetch.Client {
	t.Helper()
	config := web.Config()
	for _, c := range change {
		c(&config)
	}
	client := fetch.NewClient(config)
	t.Cleanup(client.Close)
	return client
}

// serve answers with a document.
func serve(body string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(out, body)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	var got *http.Request
	web.Handle("xn--e1afmkfd.xn--p1ai", func(out http.ResponseWriter, r *http.Request) {
		got = r
		out.Header().Set("Content-Type", "Application/VND.swaptacular.coin-info+JSON ; charset=x; broken")
		out.Header().Set("Set-Cookie", "a=b")
		_, _ = io.WriteString(out, "body")
	})
	client := newClient(t, web)
	for range 2 {
		body, err := client.Get(t.Context(), "https://пример.рф/é?ü#fragment")
		if err != nil || string(body) != "body" {
			t.Fatalf("got %q, %v", body, err)
		}
		header := http.Header{"Accept": {mediaType}, "Accept-Encoding": {"identity"}, "User-Agent": {"circular-trade"}}
		if got.Method != http.MethodGet || got.RequestURI != "/%C3%A9?%C3%BC" || got.Host != "xn--e1afmkfd.xn--p1ai" ||
			got.ContentLength != 0 || fmt.Sprint(got.Header) != fmt.Sprint(header) {
			t.Errorf("the request is %+v", got)
		}
		if got.TLS.Version < tls.VersionTLS12 {
			t.Errorf("TLS version %x", got.TLS.Version)
		}
	}
	if n := len(web.Dialled()); n != 1 {
		t.Errorf("there were %d connections", n)
	}
}

// Answers that are no documents.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const limit = 1000
	typed := func(handler func(out http.ResponseWriter)) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", mediaType)
			handler(out)
		}
	}
	status := func(code int) http.HandlerFunc {
		return typed(func(out http.ResponseWriter) { out.WriteHeader(code) })
	}
	encoded := func(encoding string, body []byte) http.HandlerFunc {
		return typed(func(out http.ResponseWriter) {
			out.Header().Set("Content-Encoding", encoding)
			_, _ = out.Write(body)
		})
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(make([]byte, 1<<20))
	_ = zip.Close()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    error // nil: a document
	}{
		"empty":             {serve(""), nil},
		"longest":           {serve(strings.Repeat("x", limit)), nil},
		"chunked":           {chunks(10, limit/10), nil},
		"too long":          {serve(strings.Repeat("x", limit+1)), fetch.ErrTooLong},
		"too long, chunked": {chunks(10, limit/10+1), fetch.ErrTooLong},
		"endless":           {chunks(1<<30, 1<<10), fetch.ErrTooLong},
		"lies about length": {lie("HTTP/1.1 200 OK\r\nContent-Type: " + mediaType + "\r\nContent-Length: 1000\r\n\r\nx"), io.ErrUnexpectedEOF},
		"absurd length":     {lie("HTTP/1.1 200 OK\r\nContent-Type: " + mediaType + "\r\nContent-Length: 9223372036854775807\r\n\r\nx"), fetch.ErrTooLong},
		"not found":         {status(http.StatusNotFound), &fetch.StatusError{Status: 404}},
		"gone":              {status(http.StatusGone), &fetch.StatusError{Status: 410}},
		"server error":      {status(http.StatusInternalServerError), &fetch.StatusError{Status: 500}},
		"no content":        {status(http.StatusNoContent), &fetch.StatusError{Status: 204}},
		"not modified":      {status(http.StatusNotModified), &fetch.StatusError{Status: 304}},
		"nowhere":           {status(http.StatusFound), &fetch.StatusError{Status: 302}},
		"strange status":    {status(999), &fetch.StatusError{Status: 999}},
		"status with a page": {func(out http.ResponseWriter, _ *http.Request) {
			http.Error(out, strings.Repeat("x", 1<<20), http.StatusServiceUnavailable)
		}, &fetch.StatusError{Status: 503}},
		"no type":    {func(out http.ResponseWriter, _ *http.Request) { out.Header()["Content-Type"] = nil }, fetch.ErrMediaType},
		"other type": {func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Content-Type", mediaType+"2") }, fetch.ErrMediaType},
		"part of a type": {func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", "application/vnd.swaptacular")
		}, fetch.ErrMediaType},
		"type with parameters": {func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", mediaType+";charset=utf-8")
		}, nil},
		"identity":         {encoded("Identity", []byte("x")), nil},
		"bomb":             {encoded("gzip", bomb.Bytes()), fetch.ErrEncoded},
		"bomb in disguise": {encoded("identity, gzip", bomb.Bytes()), fetch.ErrEncoded},
		"unknown encoding": {encoded("br", nil), fetch.ErrEncoded},
		"bomb that says nothing": {typed(func(out http.ResponseWriter) {
			_, _ = out.Write(bomb.Bytes()[:limit])
		}), nil}, // it is a document, although not a valid one
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := fetchtest.New(t)
			web.Handle("example.com", c.handler)
			client := newClient(t, web, func(config *fetch.Config) { config.MaxBodyBytes = limit })
			_, err := client.Get(t.Context(), "https://example.com/")
			var status *fetch.StatusError
			switch want := c.want.(type) { //nolint:errorlint // it is what the table says
			case *fetch.StatusError:
				if !errors.As(err, &status) || *status != *want {
					t.Errorf("got %v, want %v", err, want)
				}
			default:
				if !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("got %v, want %v", err, want)
				}
			}
		})
	}
}

// chunks answers with a body whose length is not told before.
func chunks(n, size int) http.HandlerFunc {
	return func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", mediaType)
		chunk := bytes.Repeat([]byte("x"), size)
		for range n {
			if _, err := out.Write(chunk); err != nil || r.Context().Err() != nil {
				return
			}
			out.(http.Flusher).Flush()
		}
	}
}

// lie answers with bytes, and hangs up.
func lie(answer string) http.HandlerFunc {
	return speak(func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })
}

// speak has somebody speak on the connection who does not know HTTP.
func speak(with func(conn net.Conn)) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		conn, _, err := out.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		with(conn)
	}
}

// repeatedly writes until the client has enough.
func repeatedly(conn net.Conn, first, again string) {
	_, err := io.WriteString(conn, first)
	for err == nil {
		_, err = io.WriteString(conn, again)
	}
}

// Servers that speak something like HTTP.
func TestBadServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"endless header": {
			speak(func(conn net.Conn) { repeatedly(conn, "HTTP/1.1 200 OK\r\n", "X-Y: z\r\n") }), "exceeded 16384 bytes",
		},
		"endless line": {speak(func(conn net.Conn) { repeatedly(conn, "HTTP/1.1 200 OK\r\nX: ", "zzzzzzzz") }), "exceeded 16384 bytes"},
		"endless early answers": {
			speak(func(conn net.Conn) { repeatedly(conn, "", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n") }), "exceeded 16384 bytes",
		},
		"not HTTP": {lie("SSH-2.0-OpenSSH\r\n"), "malformed"},
		"silence":  {lie(""), "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := fetchtest.New(t)
			web.Handle("example.com", c.handler)
			_, err := newClient(t, web).Get(t.Context(), "https://example.com/")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Whatever a server is slow with, there is one limit for all of it.
func TestTimeout(t *testing.T) {
	t.Parallel()
	never := func(r *http.Request) { <-r.Context().Done() }
	for name, prepare := range map[string]func(t *testing.T, web *fetchtest.Web, config *fetch.Config){
		"lookup": func(_ *testing.T, _ *fetchtest.Web, config *fetch.Config) { config.Resolver = blockedResolver{} },
		"connecting": func(_ *testing.T, _ *fetchtest.Web, config *fetch.Config) {
			config.Connect = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		},
		"TLS": func(t *testing.T, _ *fetchtest.Web, config *fetch.Config) {
			t.Helper()
			config.Connect = func(context.Context, netip.AddrPort) (net.Conn, error) {
				client, server := net.Pipe()
				t.Cleanup(func() { _ = server.Close() })
				go func() { _, _ = io.Copy(io.Discard, server) }()
				return client, nil
			}
		},
		"header": func(_ *testing.T, web *fetchtest.Web, _ *fetch.Config) {
			web.Handle("example.com", func(_ http.ResponseWriter, r *http.Request) { never(r) })
		},
		"body": func(_ *testing.T, web *fetchtest.Web, _ *fetch.Config) {
			web.Handle("example.com", func(out http.ResponseWriter, r *http.Request) {
				out.Header().Set("Content-Type", mediaType)
				_, _ = io.WriteString(out, "{")
				out.(http.Flusher).Flush()
				never(r)
			})
		},
		"body, drop by drop": func(_ *testing.T, web *fetchtest.Web, _ *fetch.Config) {
			web.Handle("example.com", func(out http.ResponseWriter, r *http.Request) {
				out.Header().Set("Content-Type", mediaType)
				drops := time.NewTicker(10 * time.Millisecond)
				defer drops.Stop()
				for r.Context().Err() == nil {
					_, _ = io.WriteString(out, " ")
					out.(http.Flusher).Flush()
					<-drops.C
				}
			})
		},
		"after a redirect": func(_ *testing.T, web *fetchtest.Web, _ *fetch.Config) {
			web.Handle("example.com", func(out http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/there" {
					never(r)
				}
				http.Redirect(out, r, "/there", http.StatusFound)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := fetchtest.New(t)
			web.Handle("example.com", serve(""))
			client := newClient(t, web, func(config *fetch.Config) {
				config.Timeout = 100 * time.Millisecond
				prepare(t, web, config)
			})
			started := time.Now()
			_, err := client.Get(t.Context(), "https://example.com/")
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 5*time.Second {
				t.Errorf("after %v: %v", time.Since(started), err)
			}
		})
	}
}

type blockedResolver struct{}

func (blockedResolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestCancel(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	arrived := make(chan struct{})
	web.Handle("example.com", func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := newClient(t, web).Get(ctx, "https://example.com/"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	web.Handle("a.example", func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("the request tells too much: %v", r.Header)
		}
		out.Header().Set("Set-Cookie", "a=b")
		if hops, err := strconv.Atoi(r.URL.Path[1:]); err == nil && hops > 0 {
			http.Redirect(out, r, "/"+strconv.Itoa(hops-1), []int{301, 302, 303, 307, 308}[hops%5])
			return
		}
		if r.URL.Path == "/long" {
			out.Header().Set("Location", "/"+strings.Repeat("a", 2000))
			out.WriteHeader(http.StatusFound)
			return
		}
		if r.URL.Path == "/to" {
			out.Header().Set("Location", r.URL.Query().Get("location"))
			out.WriteHeader(http.StatusFound)
			return
		}
		serve("found")(out, r)
	})
	web.Handle("b.example", serve("found elsewhere"))
	web.Resolve("private.example", func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.0.0.1")} })
	client := newClient(t, web)
	for path, want := range map[string]string{
		"0": "found", "1": "found", "2": "found", "to?location=https://b.example/": "found elsewhere",
		"to?location=%2f%2fb.example%2f%c3%a9": "found elsewhere",
	} {
		if body, err := client.Get(t.Context(), "https://a.example/"+path); err != nil || string(body) != want {
			t.Errorf("%s: got %q, %v", path, body, err)
		}
	}
	for _, path := range []string{
		"3", "4", "to?location=http://b.example/", "to?location=https://user:x@b.example/", "to?location=ftp://b.example/",
		"to?location=https:", "to?location=//", "to?location=https://b.example:0/", "long",
	} {
		if _, err := client.Get(t.Context(), "https://a.example/"+path); !errors.Is(err, fetch.ErrRedirect) || errors.Is(err, fetch.ErrMalformed) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, location := range []string{"https://private.example/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]:8080/"} {
		_, err := client.Get(t.Context(), "https://a.example/to?location="+location)
		if _, refused := errors.AsType[*fetch.RefusedError](err); !refused {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	client := newClient(t, web)
	for _, iri := range []string{"http://example.com/", "https://user@example.com/", "https://example.com/" + strings.Repeat("a", 1981)} {
		if _, err := client.Get(t.Context(), iri); !errors.Is(err, fetch.ErrMalformed) {
			t.Errorf("%s: %v", iri, err)
		}
	}
	if n := len(web.Dialled()); n != 0 {
		t.Errorf("there were %d connections", n)
	}
}

func TestAddressFilter(t *testing.T) {
	t.Parallel()
	private := netip.MustParseAddr("192.168.1.1")
	for name, c := range map[string]struct {
		iri       string
		addresses []netip.Addr
		dialled   string // empty: none
	}{
		"public":          {"https://h.example/", []netip.Addr{fetchtest.Address}, "193.0.0.7:443"},
		"private":         {"https://h.example/", []netip.Addr{private}, ""},
		"all private":     {"https://h.example/", []netip.Addr{private, netip.MustParseAddr("::1"), netip.MustParseAddr("2002:7f00:1::")}, ""},
		"one is public":   {"https://h.example:8443/", []netip.Addr{private, fetchtest.Address, private}, "193.0.0.7:8443"},
		"mapped":          {"https://h.example/", []netip.Addr{netip.MustParseAddr("::ffff:193.0.0.7")}, "193.0.0.7:443"},
		"private mapped":  {"https://h.example/", []netip.Addr{netip.MustParseAddr("::ffff:192.168.1.1")}, ""},
		"literal":         {"https://193.0.0.7/", nil, "193.0.0.7:443"},
		"IPv4 literal":    {"https://127.0.0.1/", nil, ""},
		"IPv6 literal":    {"https://[::1]/", nil, ""},
		"metadata":        {"https://169.254.169.254/", nil, ""},
		"wide digits":     {"https://１２７.０.０.１/", nil, ""},
		"decimal literal": {"https://2130706433/", []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := fetchtest.New(t)
			host := fetch.Host(c.iri)
			web.Handle(host, serve(""))
			web.Resolve(host, func() []netip.Addr { return c.addresses })
			_, err := newClient(t, web).Get(t.Context(), c.iri)
			if c.dialled == "" {
				refused, ok := errors.AsType[*fetch.RefusedError](err)
				if !ok || refused.Host != host || !refused.Address.IsValid() || len(web.Dialled()) > 0 {
					t.Errorf("got %v, dialled %v", err, web.Dialled())
				}
			} else if err != nil || fmt.Sprint(web.Dialled()) != "["+c.dialled+"]" {
				t.Errorf("got %v, dialled %v", err, web.Dialled())
			}
			open := newClient(t, web, func(config *fetch.Config) { config.AllowPrivate, config.SkipVerify = true, true })
			if _, err := open.Get(t.Context(), c.iri); err != nil {
				t.Errorf("with private addresses allowed: %v", err)
			}
		})
	}
}

// A name that has a public address first, and another one a moment later.
func TestRebinding(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	var lookups atomic.Int32
	web.Resolve("h.example", func() []netip.Addr {
		if lookups.Add(1) == 1 {
			return []netip.Addr{fetchtest.Address}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	web.Handle("h.example", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Connection", "close")
		out.Header().Set("Location", "/again")
		out.WriteHeader(http.StatusFound)
	})
	_, err := newClient(t, web).Get(t.Context(), "https://h.example/")
	if _, refused := errors.AsType[*fetch.RefusedError](err); !refused || lookups.Load() != 2 || len(web.Dialled()) != 1 {
		t.Errorf("got %v, after %d lookups and %v", err, lookups.Load(), web.Dialled())
	}
}

// The second address is tried when the first one does not answer.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	web.Handle("h.example", serve("x"))
	web.Resolve("h.example", func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("193.0.0.8"), netip.MustParseAddr("2a00:1450::1"), fetchtest.Address}
	})
	client := newClient(t, web, func(config *fetch.Config) {
		connect := config.Connect
		config.Connect = func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
			if address.Addr() != fetchtest.Address {
				return nil, fmt.Errorf("there is nothing at %v", address)
			}
			return connect(ctx, address)
		}
	})
	if body, err := client.Get(t.Context(), "https://h.example/"); err != nil || string(body) != "x" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	web.Handle("h.example", serve("x"))
	roots, err := fetch.LoadRoots(web.CertFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*fetch.Config)
		ok     bool
	}{
		"trusted":      {func(c *fetch.Config) { c.Roots = roots }, true},
		"system's":     {func(c *fetch.Config) { c.Roots = nil }, false},
		"not verified": {func(c *fetch.Config) { c.Roots, c.SkipVerify = nil, true }, true},
	} {
		if _, err := newClient(t, web, c.change).Get(t.Context(), "https://h.example/"); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}

	old := httptest.NewUnstartedServer(serve("x"))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // that is the test
	old.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	old.StartTLS()
	defer old.Close()
	client := newClient(t, web, func(c *fetch.Config) {
		c.SkipVerify = true
		c.Connect = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", old.Listener.Addr().String())
		}
	})
	if _, err := client.Get(t.Context(), "https://h.example/"); err == nil || !strings.Contains(err.Error(), "tls") {
		t.Errorf("with an old version of TLS: %v", err)
	}
}

func TestLoadRoots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.pem")
	if err := os.WriteFile(broken, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", filepath.Join(dir, "missing.pem")} {
		if roots, err := fetch.LoadRoots(path); roots != nil || err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{broken, dir} {
		if _, err := fetch.LoadRoots(path); err == nil {
			t.Errorf("%q can be loaded", path)
		}
	}
}

// Not more connections to one host than allowed, whatever callers do.
func TestHostConnections(t *testing.T) {
	t.Parallel()
	web := fetchtest.New(t)
	var now, most atomic.Int32
	full := make(chan struct{})
	web.Handle("h.example", func(out http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 2 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-full
		serve("x")(out, r)
	})
	client := newClient(t, web, func(config *fetch.Config) { config.HostConnections = 2 })
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			_, err := client.Get(t.Context(), "https://h.example/")
			return err
		})
	}
	if err := group.Wait(); err != nil || most.Load() != 2 || len(web.Dialled()) != 2 {
		t.Errorf("got %v, with %d connections at a time, and %d in all", err, most.Load(), len(web.Dialled()))
	}
}
