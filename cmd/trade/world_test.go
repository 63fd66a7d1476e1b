package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestWorldUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--profile", "foggy"}, `--profile: "foggy" is not calm, noisy, or storm`},
		{[]string{"--kept", "1"}, "--kept: 1 is not from 0 to below 1"},
		{[]string{"--kept", "-0.1"}, "--kept: -0.1 is not from 0 to below 1"},
		{[]string{"--kept", "NaN"}, "--kept: NaN is not from 0 to below 1"},
		{[]string{"--book", "b", "--customers", "5"}, "--book and --customers exclude each other"},
		{[]string{"--customers", "5", "--currencies", "0"}, "invalid size of a synthetic book: 0 currencies, there must be 1 or more"},
		{
			[]string{"--url", "rabbit"},
			`--url: not a valid URL`,
		},
	} {
		r := trade(t.Context(), nil, append([]string{"world"}, c.args...)...)
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, "trade: "+c.want) {
			t.Errorf("%q: %+v, want %s", c.args, r, c.want)
		}
	}
	if r := trade(t.Context(), nil, "world", "--listen", "nowhere"); r.code != exitFailure {
		t.Errorf("an address without a port: %+v", r)
	}
}

// Asked to end before the broker has appeared, it ends well. By then, it has said what the service has to know.
func TestWorldEndsWithoutABroker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	certificate, journal := filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "journal.jsonl")
	nobody := net.JoinHostPort("127.0.0.1", strconv.Itoa(testenv.FreePort(t)))
	environment := []string{"PROTOCOL_BROKER_URL=amqp://guest:guest@" + nobody}
	out := &container{name: "world"}
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, environment, []string{
			"world", "--host", "issuers.example", "--certificate", certificate, "--journal", journal,
		}, nil, out, &stderr)
	}()
	out.awaitWords(t, "waiting for the broker")
	for _, text := range []string{
		"BASE_DEBTOR_INFO_LOCATOR=https://issuers.example:", "BASE_DEBTOR_ID=666\n",
		"HTTP_FETCH_SSL_CERT_FILE=" + certificate + "\n", "APP_HTTP_FETCH_ALLOW_PRIVATE=true\n",
	} {
		if !strings.Contains(out.said(), text) {
			t.Errorf("it does not say %q", text)
		}
	}
	cancel()
	if code := <-ended; code != exitSuccess || stderr.Len() > 0 {
		t.Errorf("it has ended with %d, %s", code, &stderr)
	}
	if text, err := os.ReadFile(certificate); err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----\n")) {
		t.Errorf("the certificate is %q, %v", text, err)
	}
}

// Without a service, nothing happens, and nothing is wrong. What does happen is in the journal.
func TestWorldAlone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	journal := filepath.Join(t.TempDir(), "journal.jsonl")
	out := &container{name: "world"}
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	args := []string{"world", "--url", testenv.NewVirtualHost(t), "--journal", journal, "--settling", "1s"}
	go func() { ended <- execute(ctx, nil, args, nil, out, &stderr) }()
	out.awaitWords(t, "The world has begun")
	cancel()
	if code := <-ended; code != exitSuccess || stderr.Len() > 0 {
		t.Errorf("it has ended with %d, %s", code, &stderr)
	}
	// Nobody has a queue for what the creditors agent says to the service.
	for _, text := range []string{"The world has not come to rest", "so nothing is known about it", "C1   holds"} {
		if !strings.Contains(out.said(), text) {
			t.Errorf("it does not say %q: %s", text, out.said())
		}
	}
	text, err := os.ReadFile(journal)
	if err != nil || bytes.Count(text, []byte("\n")) < 100 || !bytes.HasSuffix(text, []byte("}\n")) {
		t.Errorf("the journal has %d bytes, %v", len(text), err)
	}
}
