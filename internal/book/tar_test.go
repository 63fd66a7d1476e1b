package book

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
)

// A member of a tar archive; a directory if the content is empty.
type member struct{ name, content string }

func tarOf(t *testing.T, members ...member) string {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, m := range members {
		header := &tar.Header{Name: m.name, Mode: 0o600, Size: int64(len(m.content)), Typeflag: tar.TypeReg}
		if m.content == "" {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.String()
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	archive := tarOf(t,
		member{"./book/", ""}, member{"./book/currencies.csv", currencyHeader}, member{"/etc/passwd", "x"},
		member{"../../sells.csv.gz", "zipped"}, member{"buys.csv", buyHeader}, member{"takings.csv", "x"},
		member{"book/collectors.csv/", ""},
	)
	for name, archive := range map[string]string{"plain": archive, "gzip": zip(t, archive)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			source := strings.NewReader(archive)
			if err := Unpack(source, dir); err != nil {
				t.Fatal(err)
			}
			mustHold(t, dir, map[string]string{
				"currencies.csv": currencyHeader, "sells.csv.gz": "zipped", "buys.csv": buyHeader,
			})
			if source.Len() > 0 {
				t.Errorf("%d bytes are left", source.Len())
			}
		})
	}
}

func TestUnpackFails(t *testing.T) {
	t.Parallel()
	twice := tarOf(t, member{"a/sells.csv", sellHeader}, member{"b/sells.csv", sellHeader})
	zipped := zip(t, twice)
	for _, c := range []struct{ name, archive, want string }{
		{"twice", twice, `unpacking "b/sells.csv": not an offer book: the archive has two files of this name`},
		{
			"not an archive", strings.Repeat("currencies", 100),
			"reading the archive: it is not a tar archive, with or without gzip: archive/tar: invalid tar header",
		},
		{"truncated", twice[:1100], "reading the archive: unexpected EOF"},
		{"truncated content", twice[:520], `unpacking "a/sells.csv": unexpected EOF`},
		{"truncated gzip", zipped[:5], "reading the archive: unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mustFail(t, Unpack(strings.NewReader(c.archive), t.TempDir()), c.want)
		})
	}
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := Unpack(strings.NewReader(""), dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, ErrNoBook) {
			t.Fatal(err)
		}
	})
}

func TestPackOutcome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeOutcome(t, dir, &solver.Outcome{
		Takings: []solver.Change{{Creditor: 1, Debtor: 60, Amount: 6000, Collector: 801}},
	}, false)
	var archive bytes.Buffer
	if err := PackOutcome(&archive, dir); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for r := tar.NewReader(&archive); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = string(content)
	}
	mustHold(t, dir, found)
	if err := PackOutcome(io.Discard, t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
