package world

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// A Certificate is a kind of certificate that the website can show.
type Certificate uint8

// The kinds.
const (
	ValidCertificate Certificate = iota
	ExpiredCertificate
	ForeignCertificate // signed by somebody unknown
	certificates
)

// A website serves the documents of all issuers, over HTTPS.
type website struct {
	listener net.Listener
	host     string // name or IP address, for others
	server   *http.Server
	shown    [certificates]tls.Certificate
	kind     atomic.Uint32 // of the certificate to be shown
	roots    []byte        // the certificate, in PEM, that clients have to trust
}

// openWebsite opens the port. Nobody answers before serve is called. For empty texts, see [Settings].
func openWebsite(ctx context.Context, address, host string, log *slog.Logger) (*website, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("open a port for the issuers' website: %w", err)
	}
	if at, ok := listener.Addr().(*net.TCPAddr); ok && host == "" {
		host = at.IP.String()
		if at.IP.IsUnspecified() {
			host = "localhost"
		}
	}
	s := &website{listener: listener, host: host}
	if err := s.makeCertificates(time.Now()); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("make certificates for the issuers' website: %w", err)
	}
	s.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that do not like a certificate
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return &s.shown[s.kind.Load()], nil
			},
		},
	}
	return s, nil
}

// url returns the beginning of all IRIs.
func (s *website) url() string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String()) // addresses of listeners have the right form
	return "https://" + net.JoinHostPort(s.host, port)
}

// serve answers requests until close is called.
func (s *website) serve(handler http.Handler) error {
	s.server.Handler = handler
	err := s.server.ServeTLS(s.listener, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// close ends the website, and all connections to it.
func (s *website) close() {
	_ = s.server.Close()
	_ = s.listener.Close()
}

// makeCertificates makes an authority, a certificate signed by it, an expired one, and one that it has not signed.
func (s *website) makeCertificates(now time.Time) error {
	own, err := newSigner("Simulated issuers", now)
	if err != nil {
		return err
	}
	stranger, err := newSigner("Somebody unknown", now)
	if err != nil {
		return err
	}
	const validity = 365 * 24 * time.Hour
	for kind, c := range map[Certificate]struct {
		by    *signer
		until time.Time
	}{
		ValidCertificate:   {own, now.Add(validity)},
		ExpiredCertificate: {own, now.Add(-time.Minute)},
		ForeignCertificate: {stranger, now.Add(validity)},
	} {
		if s.shown[kind], err = c.by.sign(s.host, now.Add(-time.Hour), c.until); err != nil {
			return err
		}
	}
	s.roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.certificate.Raw})
	return nil
}

// A signer is a certificate authority that nobody should trust for long.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newSigner(name string, now time.Time) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(366 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &signer{certificate, key}, err
}

// sign makes a certificate for a host, and for this machine.
func (s *signer) sign(host string, from, until time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.certificate, &key.PublicKey, s.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// hugeBody is how long the body of a huge document is.
const hugeBody = 4 << 20

// hopParameter counts redirections in the URLs of pages with a fault.
const hopParameter = "hop"

// serve answers a request for a page, with a fault if there is to be one.
func (p *page) serve(w http.ResponseWriter, r *http.Request, fault Fault) {
	switch fault {
	case FaultTimeout:
		<-r.Context().Done()
	case FaultSlowBody:
		p.serveSlowly(w, r)
	case FaultHugeBody:
		p.serveDocument(w, bytes.Repeat([]byte(" "), hugeBody), coinInfoType)
	case FaultNotFound:
		http.Error(w, "there is nothing here", http.StatusNotFound)
	case FaultGone:
		http.Error(w, "there is nothing here any more", http.StatusGone)
	case FaultServerError:
		http.Error(w, "something is wrong", http.StatusInternalServerError)
	case FaultRedirects, FaultRedirectLoop:
		p.serveRedirects(w, r, fault)
	case FaultContentType:
		p.serveDocument(w, p.document, "text/html; charset=utf-8")
	case FaultBrokenJSON:
		p.serveDocument(w, p.document[:len(p.document)/2], coinInfoType)
	default:
		p.serveSound(w, r)
	}
}

// serveSound answers as it should be.
func (p *page) serveSound(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age="+strconv.Itoa(int(p.maxAge/time.Second)))
	if p.target != "" {
		http.Redirect(w, r, p.target, http.StatusFound) //nolint:gosec // to a page of our own
		return
	}
	p.serveDocument(w, p.document, coinInfoType)
}

func (p *page) serveDocument(w http.ResponseWriter, document []byte, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	_, _ = w.Write(document) //nolint:gosec // who has gone does not read; what is said comes from the scenario
}

// serveRedirects sends the client around, four times or for ever.
func (p *page) serveRedirects(w http.ResponseWriter, r *http.Request, fault Fault) {
	const hops = 4
	hop, _ := strconv.Atoi(r.URL.Query().Get(hopParameter)) // none: the first one
	if fault == FaultRedirects && hop >= hops {
		p.serveDocument(w, p.document, coinInfoType)
		return
	}
	http.Redirect(w, r, r.URL.Path+"?"+hopParameter+"="+strconv.Itoa(hop+1), http.StatusFound) //nolint:gosec // as above
}

// serveSlowly sends a byte now and then, until the client has enough of it.
func (p *page) serveSlowly(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", coinInfoType)
	now := time.NewTicker(100 * time.Millisecond)
	defer now.Stop()
	for {
		select {
		case <-now.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // to return would be an orderly end of the body
		}
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
	}
}
