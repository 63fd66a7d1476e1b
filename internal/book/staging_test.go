package book

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func content(text string) func(*bufio.Writer) error {
	return func(w *bufio.Writer) error {
		_, err := w.WriteString(text)
		return err
	}
}

// look returns the content of all files of a directory.
func look(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, entry := range entries {
		text := "(a directory)"
		if !entry.IsDir() {
			b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		found[entry.Name()] = text
	}
	return found
}

func mustHold(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if got := look(t, dir); !maps.Equal(got, want) {
		t.Fatalf("the directory holds %q, want %q", got, want)
	}
}

func TestStaging(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "c"} {
		if err := os.WriteFile(at(name), []byte("old "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var s Staging
	if err := errors.Join(
		s.Write(t.Context(), at("a"), content("new a")),
		s.Write(t.Context(), at("b"), content("new b")),
	); err != nil {
		t.Fatal(err)
	}
	s.Remove(at("c"))
	s.Remove(at("d"))
	names := slices.Sorted(maps.Keys(look(t, dir)))
	if len(names) != 4 || names[2] != "a" || names[3] != "c" {
		t.Fatalf("before the commit the directory holds %q", names)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	mustHold(t, dir, map[string]string{"a": "new a", "b": "new b"})
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	mustHold(t, dir, map[string]string{"a": "new a", "b": "new b"})
	if info, err := os.Stat(at("b")); err != nil || info.Mode().Perm()&0o400 == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Whatever goes wrong, the old files stay and nothing new is left behind.
func TestStagingFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		stage func(ctx context.Context, s *Staging, dir string) error
		want  string // with DIR for the directory
	}{
		{
			"content",
			func(ctx context.Context, s *Staging, dir string) error {
				return s.Write(ctx, dir+"/b", func(w *bufio.Writer) error {
					return errors.Join(content("half")(w), broken)
				})
			},
			"writing DIR/b: broken",
		},
		{
			"directory in the way",
			func(ctx context.Context, s *Staging, dir string) error {
				return s.Write(ctx, dir+"/dir", content("new"))
			},
			"replacing DIR/dir: it is not a regular file, remove it or choose another name",
		},
		{
			"same name",
			func(ctx context.Context, s *Staging, dir string) error {
				return s.Write(ctx, dir+"/./a", content("other"))
			},
			"writing DIR/a: two different files would have this name",
		},
		{
			"no directory",
			func(ctx context.Context, s *Staging, dir string) error {
				return s.Write(ctx, dir+"/none/b", content("new"))
			},
			"creating DIR/none/b: ",
		},
		{
			"end of the context",
			func(ctx context.Context, s *Staging, dir string) error {
				ctx, cancel := context.WithCancelCause(ctx)
				cancel(broken)
				return s.Write(ctx, dir+"/b", content("new"))
			},
			"writing DIR/b: broken",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := errors.Join(
				os.WriteFile(dir+"/a", []byte("old a"), 0o600),
				os.WriteFile(dir+"/stale", []byte("old"), 0o600),
				os.Mkdir(dir+"/dir", 0o700),
			); err != nil {
				t.Fatal(err)
			}
			old := look(t, dir)
			var s Staging
			s.Remove(dir + "/stale")
			if err := s.Write(t.Context(), dir+"/a", content("new a")); err != nil {
				t.Fatal(err)
			}
			err := c.stage(t.Context(), &s, dir)
			if err == nil {
				err = s.Commit()
			}
			if want := strings.ReplaceAll(c.want, "DIR", dir); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got the error %v, want %s", err, want)
			}
			if err := s.Discard(); err != nil {
				t.Error(err)
			}
			mustHold(t, dir, old)
		})
	}
}
