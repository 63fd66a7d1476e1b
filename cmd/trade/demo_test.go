package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemoUsage(t *testing.T) {
	t.Parallel()
	servers := []string{"--postgres", "postgres://localhost/x", "--broker", "amqp://localhost"}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no servers": {
			[]string{"--postgres=", "--broker="},
			exitFailure,
			"there are no servers: run 'make demo', or set TEST_POSTGRES_URL and TEST_BROKER_URL",
		},
		"no broker":        {[]string{"--postgres", "postgres://localhost/x", "--broker="}, exitFailure, "there are no servers"},
		"shards":           {append(servers, "--shards", "3"), exitUsage, "--shards: 3 is not 1, 2, 4, 8, or 16"},
		"no turns":         {append(servers, "--turns", "0"), exitUsage, "--turns: there has to be at least one"},
		"profile":          {append(servers, "--profile", "sunny"), exitUsage, `--profile: "sunny" is not calm, noisy, or storm`},
		"two scenarios":    {append(servers, "--book", "b", "--customers", "5"), exitUsage, "--book and --customers exclude each other"},
		"negative count":   {append(servers, "--customers", "-5"), exitUsage, ""},
		"no script":        {[]string{"--faults"}, exitFailure, "name scripts/services by --services: stat "},
		"script elsewhere": {[]string{"--faults", "--services", "/nowhere"}, exitFailure, "stat /nowhere: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "out")
			r := trade(t.Context(), strings.NewReader(""), append([]string{"demo", "--dir", dir}, c.args...)...)
			if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit code %d, want %d; it says %s%s", r.code, c.code, r.stdout, r.stderr)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Error("it has made the directory nevertheless")
			}
		})
	}
}

// Whoever sees a failure is told how to see it again. Passwords are not told.
func TestDemoTellsHowToRepeat(t *testing.T) {
	t.Parallel()
	script, dir := filepath.Join(t.TempDir(), "services"), t.TempDir()
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no way >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := trade(t.Context(), strings.NewReader(""), "demo", "--faults", "--services", script, "--dir", dir, "--seed", "7",
		"--postgres", "postgres://user:secret@localhost/x")
	want := "To let the same happen again: trade demo --dir=" + dir + " --faults=true --seed=7 --services=" + script + "\n"
	if r.code != exitFailure || !strings.HasSuffix(r.stderr, want) || !strings.Contains(r.stderr, "server does not start: see ") {
		t.Errorf("exit code %d, it says %s", r.code, r.stderr)
	}
	log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil || string(log) != "no way\n" {
		t.Errorf("the log has %q, %v", log, err)
	}
}
