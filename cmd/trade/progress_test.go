package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	var terminal bytes.Buffer
	p := &progress{terminal: &terminal, start: time.Now().Add(-patience)}
	p.bytes("reading", 250, 1000)
	p.share("clearing", 0.5)
	p.close()
	p.close()
	for _, want := range []string{"reading", "25%", "clearing", "50%"} {
		if !strings.Contains(terminal.String(), want) {
			t.Errorf("there is no %q in %q", want, terminal.String())
		}
	}
}

// Short runs need no progress, and neither do files.
func TestProgressIsQuiet(t *testing.T) {
	t.Parallel()
	var terminal bytes.Buffer
	p := &progress{terminal: &terminal, start: time.Now().Add(time.Hour)}
	p.share("clearing", 0.5)
	p.close()
	if terminal.Len() > 0 {
		t.Errorf("it shows %q", terminal.String())
	}
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, p := range []*progress{newProgress(&terminal), newProgress(file)} {
		if p != nil {
			t.Error("it takes something else for a terminal")
		}
		p.bytes("reading", 1, 2)
		p.close()
	}
}
