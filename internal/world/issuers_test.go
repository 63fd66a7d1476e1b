package world

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A site is a website with the issuers of the town.
type site struct {
	*issuers
	website *website
	client  *http.Client // trusts the website, and follows no redirections
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteAt(t, "", "")
}

func newSiteAt(t *testing.T, address, host string) *site {
	t.Helper()
	w, err := openWebsite(t.Context(), address, host, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{website: w, issuers: newIssuers(w.url(), townCurrencies())}
	currencies := townCurrencies()
	for i := range currencies {
		s.write(&currencies[i])
	}
	ended := make(chan error, 1)
	go func() { ended <- w.serve(s.issuers) }()
	t.Cleanup(func() {
		w.close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.roots) {
		t.Fatal("there is no certificate")
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

// An answer is a response that has been read.
type answer struct {
	status int
	header http.Header
}

func (s *site) get(t *testing.T, url string) (a answer, body string) {
	t.Helper()
	response, err := s.client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header}, string(text)
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	locator := s.locatorOf(townKnits)
	if response, _ := s.get(t, locator); response.status != http.StatusNotFound {
		t.Errorf("before anything is published: %d", response.status)
	}
	s.publish(townKnits, 0)
	response, _ := s.get(t, locator)
	info := s.info(townKnits)
	if response.status != http.StatusFound || response.header.Get("Location") != info.IRI ||
		response.header.Get("Cache-Control") != "max-age=86400" {
		t.Errorf("the locator: %d, %v", response.status, response.header)
	}
	response, text := s.get(t, info.IRI)
	if response.status != http.StatusOK || response.header.Get("Content-Type") != coinInfoType ||
		response.header.Get("Cache-Control") != "max-age=31536000" || fmt.Sprintf("%X", sha256.Sum256([]byte(text))) != info.SHA256 {
		t.Errorf("the document: %d, %v", response.status, response.header)
	}
	want := `{"type":"CoinInfo","revision":0,"latestDebtorInfo":{"uri":"` + locator + `"},` +
		`"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:9004"},"debtorName":"Wool and Loom",` +
		`"summary":"One hand-knitted jumper, for the price of four vegetable boxes.","amountDivisor":1000,"decimalPlaces":2,` +
		`"unit":"jumpers","peg":{"type":"Peg","exchangeRate":4,"latestDebtorInfo":{"uri":"` + s.locatorOf(townBoxes) + `"},` +
		`"debtorIdentity":{"type":"DebtorIdentity","uri":"swpt:8002"}}}`
	if text != want {
		t.Errorf("the document is\n%s, want\n%s", text, want)
	}

	// A dummy has one page, which is both.
	response, text = s.get(t, s.locatorOf(townEuro))
	if response.status != http.StatusOK || !strings.Contains(text, s.locatorOf(townEuro)) || !strings.Contains(text, smp.DebtorURI(townEuro)) {
		t.Errorf("the base: %d, %s", response.status, text)
	}
	for _, path := range []string{
		"", "/", "/x", "/debtors/8001", "/debtors/8001/public", "/debtors/77/public", "/debtors/x/public",
		"/debtors/8001/documents/0/public", "/debtors/8001/documents/2/public", "/debtors/8001/documents/x/public",
		"/debtors/666/public", "/debtors/666/documents/1/public", "/units/8001", "/units/8001/x",
	} {
		if response, _ := s.get(t, s.website.url()+path); response.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, response.status)
		}
	}
}

// A new revision has an IRI of its own; the locator leads to it when it is published.
func TestRevisions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.publish(townBikes, 0)
	old := s.info(townBikes).IRI
	c := s.currency(townBikes)
	c.Peg = nil
	s.write(&c)
	revised := s.info(townBikes).IRI
	if response, _ := s.get(t, s.locatorOf(townBikes)); response.header.Get("Location") != old || old == revised {
		t.Errorf("before it is published, the locator leads to %s", response.header.Get("Location"))
	}
	s.publish(townBikes, s.newest(townBikes))
	if response, _ := s.get(t, s.locatorOf(townBikes)); response.header.Get("Location") != revised {
		t.Errorf("then it leads to %s", response.header.Get("Location"))
	}
	_, before := s.get(t, old)
	_, after := s.get(t, revised)
	if !strings.Contains(before, `"peg"`) || strings.Contains(after, `"peg"`) || !strings.Contains(after, `"revision":1`) {
		t.Errorf("the revisions are\n%s\n%s", before, after)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.publish(townLoaves, 0)
	iri := s.info(townLoaves).IRI
	_, sound := s.get(t, iri)
	for fault, want := range map[Fault]func(a answer, body string) bool{
		FaultHugeBody:    func(_ answer, body string) bool { return len(body) == hugeBody },
		FaultNotFound:    func(r answer, _ string) bool { return r.status == http.StatusNotFound },
		FaultGone:        func(r answer, _ string) bool { return r.status == http.StatusGone },
		FaultServerError: func(r answer, _ string) bool { return r.status == http.StatusInternalServerError },
		FaultContentType: func(r answer, body string) bool {
			return r.header.Get("Content-Type") == "text/html; charset=utf-8" && body == sound
		},
		FaultBrokenJSON:  func(_ answer, body string) bool { return !json.Valid([]byte(body)) && len(body) > 50 },
		FaultOtherDebtor: func(_ answer, body string) bool { return strings.Contains(body, `"swpt:8002"`) },
		FaultOtherLocator: func(_ answer, body string) bool {
			return strings.Contains(body, "/elsewhere") && strings.Contains(body, `"swpt:8001"`)
		},
		NoFault: func(r answer, body string) bool { return r.status == http.StatusOK && body == sound },
	} {
		s.setFault(townLoaves, fault)
		if response, body := s.get(t, iri); !want(response, body) {
			t.Errorf("fault %d: %d, %.200s", fault, response.status, body)
		}
	}
	for fault, hops := range map[Fault]int{FaultRedirects: 4, FaultRedirectLoop: 50} {
		s.setFault(townLoaves, fault)
		url := iri
		for range hops {
			response, _ := s.get(t, url)
			if response.status != http.StatusFound {
				t.Fatalf("fault %d: %d", fault, response.status)
			}
			url = s.website.url() + response.header.Get("Location")
		}
		if response, _ := s.get(t, url); (response.status == http.StatusOK) != (fault == FaultRedirects) {
			t.Errorf("fault %d, in the end: %d", fault, response.status)
		}
	}
	s.setFault(townLoaves, FaultTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, iri, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Do(request); !errors.Is(err, context.DeadlineExceeded) { //nolint:bodyclose // there should be none
		t.Errorf("no answer is to come: %v", err)
	}
	s.setFault(townLoaves, FaultSlowBody)
	response, err := s.client.Get(iri)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = response.Body.Close() })
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("the body has come to its end: %d bytes", len(body))
	}
	s.setFault(swpt.DebtorID(5), FaultGone) // nobody knows it
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for kind, want := range map[Certificate]string{
		ValidCertificate: "", ExpiredCertificate: "expired", ForeignCertificate: "unknown authority",
	} {
		s.website.kind.Store(uint32(kind))
		response, err := s.client.Get(s.locatorOf(townEuro))
		if err == nil {
			_ = response.Body.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("certificate %d: %v, want %q", kind, err, want)
		}
	}
}

// Locators and IRIs must fit where they are told.
func TestLengthsOfNames(t *testing.T) {
	t.Parallel()
	longest := Currency{Debtor: -1, Name: strings.Repeat("é", 100), Unit: strings.Repeat("u", 100), Summary: strings.Repeat("s", 2000)}
	i := newIssuers("https://127.0.0.1:65535", []Currency{longest})
	i.write(&longest)
	if iri := i.info(-1).IRI; len(iri) > 200 || len(i.locatorOf(-1)) > 200 {
		t.Errorf("%s is too long", iri)
	}
	var document coinInfo
	if err := json.Unmarshal(i.currencies[-1].documents[0], &document); err != nil {
		t.Fatal(err)
	}
	if document.DebtorName != strings.Repeat("é", 40) || len(document.Summary) != 1000 || document.AmountDivisor != 1 {
		t.Errorf("the document is %+v", document)
	}
	if i.locatorOf(77) != "" {
		t.Error("an unknown currency has a locator")
	}
}

// The website is found, and trusted, by the name that others know it by.
func TestNameOfTheWebsite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, host, want string }{
		{"", "", "127.0.0.1"},
		{"127.0.0.1:0", "issuers.example", "issuers.example"},
		{"127.0.0.1:0", "192.0.2.1", "192.0.2.1"},
		{"localhost:0", "::1", "[::1]"},
	} {
		s := newSiteAt(t, c.address, c.host)
		locator := s.locatorOf(townEuro)
		if !strings.HasPrefix(locator, "https://"+c.want+":") {
			t.Errorf("%+v: the locator is %s", c, locator)
		}
		transport, ok := s.client.Transport.(*http.Transport)
		if !ok {
			t.Fatalf("a transport of type %T", s.client.Transport)
		}
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.website.listener.Addr().String())
		}
		var document map[string]any
		fetch(t, s.client, locator, &document)
		if document["debtorName"] != "Euro" {
			t.Errorf("%+v: the document is %v", c, document)
		}
	}
	if _, err := openWebsite(t.Context(), "nowhere", "", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an address without a port was accepted")
	}
}
