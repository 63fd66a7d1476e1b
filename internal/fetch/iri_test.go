package fetch

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseIRI(t *testing.T) {
	t.Parallel()
	for iri, want := range map[string]string{
		"https://example.com":                              "https://example.com",
		"https://Example.COM:443/A?b=c#d":                  "https://example.com/A?b=c",
		"https://example.com:/":                            "https://example.com/",
		"https://example.com:44302/USD":                    "https://example.com:44302/USD",
		"https://пример.рф/путь/%2F/ %41?ключ=я":           "https://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C/%2F/%20%41?%D0%BA%D0%BB%D1%8E%D1%87=%D1%8F",
		"https://faß.de/":                                  "https://xn--fa-hia.de/",
		"https://ＥＸＡＭＰＬＥ.com/":                             "https://example.com/",
		"https://１２７.０.０.１/":                               "https://127.0.0.1/",
		"https://a_b.example/":                             "https://a_b.example/",
		"https://[2001:DB8:0::1]:8443/":                    "https://[2001:db8::1]:8443/",
		"https://[::ffff:127.0.0.1]/":                      "https://[::ffff:127.0.0.1]/",
		"https://example.com/a|b\\c^\"<>`{}":               "https://example.com/a%7Cb%5Cc%5E%22%3C%3E%60%7B%7D",
		"https://example.com/" + strings.Repeat("a", 1980): "https://example.com/" + strings.Repeat("a", 1980),
		"https://example.com/#\\\x80":                      "https://example.com/",
	} {
		got, err := parseIRI(iri)
		if err != nil || got.String() != want {
			t.Errorf("%q: got %v, %v, want %s", iri, got, err, want)
		}
	}
	for _, iri := range []string{
		"", "x", "http://example.com/", "HTTPS://example.com/", " https://example.com/", "https:/example.com/", "https:example.com",
		"ftp://example.com/", "file:///etc/passwd", "https://", "https:///x", "https://:443/", "https://user@example.com/",
		"https://user:password@example.com/", "https://@example.com/", "https://good.example\\@evil.example/", "https://example.com:0/",
		"https://example.com:65536/", "https://example.com:99999999999999999999/", "https://example.com:x/", "https://exa mple.com/",
		"https://exa%6dple.com/%zz", "https://example.com/%zz", "https://example.com/\n", "https://example.com/\x7f", "https://exam\x00ple.com/",
		"https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[::1/", "https://::1/", "https://\xff.example/",
		"https://example.com／evil.рф/", "https://ex<ample.com/",
		"https://example.com/" + strings.Repeat("a", 1981),
	} {
		if got, err := parseIRI(iri); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, %v", iri, got, err)
		}
		if host := Host(iri); host != "" {
			t.Errorf("%q: the host is %q", iri, host)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for iri, want := range map[string]string{
		"https://Example.com.:8443/x": "example.com",
		"https://пример.рф/":          "xn--e1afmkfd.xn--p1ai",
		"https://[::1]:1/":            "::1",
		"https://193.0.0.7/":          "193.0.0.7",
	} {
		if got := Host(iri); got != want {
			t.Errorf("%s: got %q, want %q", iri, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	base, err := parseIRI("https://example.com:8443/a/b?c")
	if err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{
		"d":                             "https://example.com:8443/a/d",
		"/é":                            "https://example.com:8443/%C3%A9",
		"//other.example/x":             "https://other.example/x",
		"HTTPS://Other.example/x":       "https://other.example/x",
		"?q":                            "https://example.com:8443/a/b?q",
		"https://пример.рф/":            "https://xn--e1afmkfd.xn--p1ai/",
		"http://example.com/":           "",
		"//user@other.example/":         "",
		"javascript:alert(1)":           "",
		"https:x":                       "",
		"/\r\nX: y":                     "",
		"/" + strings.Repeat("a", 2000): "",
	} {
		got, err := resolve(base, reference)
		if want == "" {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%q: got %v, %v", reference, got, err)
			}
		} else if err != nil || got.String() != want {
			t.Errorf("%q: got %v, %v, want %s", reference, got, err, want)
		}
	}
}

// Whatever the address, the request has no room for anything else than what has been checked.
func FuzzParseIRI(f *testing.F) {
	for _, iri := range []string{
		"https://пример.рф:44302/путь/%2F?ключ#я", "https://[::1]/", "https://a@b/", "https://a/\r\n", "https://１.１/", "https://a%41/", "https://a?b c",
	} {
		f.Add(iri)
	}
	f.Fuzz(func(t *testing.T, iri string) {
		target, err := parseIRI(iri)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%q: %v", iri, err)
			}
			return
		}
		text := target.String()
		for i := range len(text) {
			if text[i] <= ' ' || text[i] >= 0x7f {
				t.Fatalf("%q becomes %q", iri, text)
			}
		}
		again, err := url.Parse(text)
		if err != nil || again.Host != target.Host || again.User != nil || again.Scheme != "https" || again.Fragment != "" {
			t.Fatalf("%q becomes %q, which reads as %+v, %v", iri, text, again, err)
		}
		if Host(iri) != Host(text) {
			t.Fatalf("%q has the host %q, and %q has %q", iri, Host(iri), text, Host(text))
		}
	})
}
