// Package fetchtest plays the World Wide Web for tests: servers with any names and addresses, none of which leaves the
// machine.
package fetchtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/fetch"
)

// Address is the address that hosts have unless a test gives them others. It looks public.
var Address = netip.MustParseAddr("193.0.0.7")

// Web is a server that is all hosts at once, on the loopback interface. Its methods may be called at any time, by any
// goroutine.
type Web struct {
	server *httptest.Server
	roots  *x509.CertPool
	rootCA []byte // PEM

	mu        sync.Mutex
	hosts     map[string]http.Handler
	addresses map[string]func() []netip.Addr
	dialled   []netip.AddrPort
}

// New starts a web without hosts. It ends with the test.
func New(tb testing.TB) *Web {
	tb.Helper()
	w := &Web{hosts: map[string]http.Handler{}, addresses: map[string]func() []netip.Addr{}}
	issuer, err := newIssuer()
	if err != nil {
		tb.Fatalf("Making certificates: %v", err)
	}
	w.roots, w.rootCA = x509.NewCertPool(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.root.Raw})
	w.roots.AddCert(issuer.root)
	w.server = httptest.NewUnstartedServer(w)
	w.server.TLS = &tls.Config{GetConfigForClient: issuer.config, MinVersion: tls.VersionTLS12}
	// Clients that give up are what tests are about.
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.server.StartTLS()
	tb.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
	})
	return w
}

// Handle has a host answer. The name is in lower case, and in ASCII.
func (w *Web) Handle(host string, handler http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[host] = handler
}

// Resolve gives a host addresses. The function is called for each lookup.
func (w *Web) Resolve(host string, addresses func() []netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addresses[host] = addresses
}

// Port returns the port of the server, which answers for all hosts, on 127.0.0.1.
func (w *Web) Port() int { return w.server.Listener.Addr().(*net.TCPAddr).Port }

// CertFile returns the name of a file with the certificate that is to be trusted.
func (w *Web) CertFile(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "roots.pem")
	if err := os.WriteFile(path, w.rootCA, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Dialled returns the addresses that clients have connected to.
func (w *Web) Dialled() []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]netip.AddrPort(nil), w.dialled...)
}

// Config returns the settings of a client that goes to this web only.
func (w *Web) Config() fetch.Config {
	return fetch.Config{
		MediaType:       "application/vnd.swaptacular.coin-info+json",
		Timeout:         10 * time.Second,
		Connections:     10,
		HostConnections: 10,
		MaxBodyBytes:    262144,
		Roots:           w.roots,
		Resolver:        w,
		Connect:         w.connect,
	}
}

// LookupNetIP implements [fetch.Resolver].
func (w *Web) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if addresses := w.addresses[host]; addresses != nil {
		return addresses(), nil
	}
	if w.hosts[host] == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{Address}, nil
}

// connect connects to the server, whatever the address.
func (w *Web) connect(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	w.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", w.server.Listener.Addr().String())
}

// ServeHTTP implements [http.Handler].
func (w *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	w.mu.Lock()
	handler := w.hosts[host]
	w.mu.Unlock()
	if handler == nil {
		slog.Error("a test asks for a host that does not exist", slog.String("host", host))
		http.Error(out, "there is no such host", http.StatusMisdirectedRequest)
		return
	}
	handler.ServeHTTP(out, r)
}

// An issuer issues certificates for all names.
type issuer struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

func newIssuer() (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	return &issuer{root: root, key: key, issued: map[string]*tls.Certificate{}}, err
}

// config has the certificate for the name, or the address, that a client wants to talk to.
func (i *issuer) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	issued, err := i.certificate(hello)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{*issued}, MinVersion: tls.VersionTLS12}, nil
}

func (i *issuer) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if issued := i.issued[hello.ServerName]; issued != nil {
		return issued, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(2 + len(i.issued))), Subject: pkix.Name{CommonName: "test server"},
		NotBefore: i.root.NotBefore, NotAfter: i.root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if hello.ServerName == "" { // the client has used an address
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, Address.AsSlice()}
	} else {
		template.DNSNames = []string{hello.ServerName}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.root, &i.key.PublicKey, i.key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %q: %w", hello.ServerName, err)
	}
	i.issued[hello.ServerName] = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key}
	return i.issued[hello.ServerName], nil
}
