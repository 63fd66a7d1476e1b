package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// MaxIRIBytes is the length of the longest IRI that is fetched.
const MaxIRIBytes = 2000

const (
	scheme      = "https"
	defaultPort = "443"
)

// ErrMalformed tells that an IRI cannot be fetched, now or ever: it is not an IRI, its scheme is not https, it has user
// info, or it is longer than [MaxIRIBytes].
var ErrMalformed = errors.New("not an IRI that can be fetched")

// Host returns the host of an IRI in the form in which all spellings of one host are equal, or "" if the IRI cannot be
// fetched.
func Host(iri string) string {
	target, err := parseIRI(iri)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(target.Hostname(), ".")
}

// parseIRI returns the URL of an IRI. Errors wrap [ErrMalformed].
func parseIRI(iri string) (*url.URL, error) {
	if !strings.HasPrefix(iri, scheme+"://") {
		return nil, fmt.Errorf("%w: it does not begin with %s://", ErrMalformed, scheme)
	}
	return resolve(nil, iri)
}

// resolve returns the URL of an IRI reference, which is relative to a base, or absolute if there is none. Errors wrap
// [ErrMalformed].
func resolve(base *url.URL, reference string) (*url.URL, error) {
	if len(reference) > MaxIRIBytes {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrMalformed, MaxIRIBytes)
	}
	reference, _, _ = strings.Cut(reference, "#")
	escaped, ok := escape(reference)
	if !ok {
		return nil, fmt.Errorf("%w: it has control characters", ErrMalformed)
	}
	target, err := url.Parse(escaped)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, reason(err))
	}
	if base != nil {
		target = base.ResolveReference(target)
	}
	switch {
	case target.Scheme != scheme:
		return nil, fmt.Errorf("%w: its scheme is not %s", ErrMalformed, scheme)
	case target.User != nil:
		return nil, fmt.Errorf("%w: it has user info", ErrMalformed)
	}
	if target.Host, err = hostAndPort(target); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return target, nil
}

// reason returns what is wrong with a URL, without the URL itself.
func reason(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// escape percent-encodes what may be in an IRI, or is in IRIs by mistake, but must not be in a URL. It is not ok if
// there are control characters. In hosts, url.Parse reverses it where that is allowed.
func escape(iri string) (escaped string, ok bool) {
	var out strings.Builder
	for i := range len(iri) {
		switch c := iri[i]; {
		case c < ' ' || c == 0x7f:
			return "", false
		case c > 0x7f || strings.IndexByte(" \"<>\\^`{|}", c) >= 0:
			fmt.Fprintf(&out, "%%%02X", c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), true
}

// hostAndPort returns the host of a URL in lower case, and in ASCII, and its port unless that is the usual one.
func hostAndPort(target *url.URL) (string, error) {
	host, port := strings.ToLower(target.Hostname()), target.Port()
	if host == "" {
		return "", errors.New("it has no host")
	}
	if number, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || number == 0) {
		return "", errors.New("its port is not a number from 1 to 65535")
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if address.Zone() != "" {
			return "", errors.New("its host has a zone")
		}
		host = address.String()
		if address.Is6() {
			host = "[" + host + "]"
		}
	} else if !isASCII(host) {
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", fmt.Errorf("its host has no name in ASCII: %w", err)
		}
	}
	if port == "" || port == defaultPort {
		return host, nil
	}
	return host + ":" + port, nil
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] > 0x7f {
			return false
		}
	}
	return true
}
