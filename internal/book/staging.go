package book

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// A Staging writes files that should appear together or not at all: they are written under other names in the
// directories where they belong, and renamed when all of them are complete. The zero Staging is ready for use; its
// methods may be called concurrently, except for Commit and Discard.
type Staging struct {
	mutex  sync.Mutex
	staged []stagedFile
	stale  []string
}

type stagedFile struct{ temporary, target string }

// Write stages a file with the content that the function writes. The context can put an end to that.
func (s *Staging) Write(ctx context.Context, target string, content func(*bufio.Writer) error) error {
	target = filepath.Clean(target)
	// Not os.CreateTemp, whose files are for the owner's eyes only.
	temporary := filepath.Join(filepath.Dir(target),
		fmt.Sprintf(".%s.%016x.tmp", filepath.Base(target), rand.Uint64()))
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("creating %s: %w", target, err)
	}
	s.mutex.Lock()
	s.staged = append(s.staged, stagedFile{temporary, target})
	s.mutex.Unlock()
	const buffer = 1 << 16
	w := bufio.NewWriterSize(&endableWriter{ctx, file}, buffer)
	if err := errors.Join(content(w), w.Flush(), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	return nil
}

// Remove stages the removal of a file, which need not exist.
func (s *Staging) Remove(target string) {
	s.mutex.Lock()
	s.stale = append(s.stale, target)
	s.mutex.Unlock()
}

// Commit makes the files appear. If it finds that one of them cannot, it leaves everything as it was.
func (s *Staging) Commit() error {
	targets := make(map[string]bool)
	for _, file := range s.staged {
		if targets[file.target] {
			return fmt.Errorf("writing %s: two different files would have this name", file.target)
		}
		targets[file.target] = true
		info, err := os.Lstat(file.target)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("replacing %s: %w", file.target, err)
		case !info.Mode().IsRegular():
			return fmt.Errorf("replacing %s: it is not a regular file, remove it or choose another name", file.target)
		}
	}
	// First, lest something stale stands beside something new if this is interrupted.
	for _, target := range s.stale {
		if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an old file: %w", err)
		}
	}
	for len(s.staged) > 0 {
		if err := os.Rename(s.staged[0].temporary, s.staged[0].target); err != nil {
			return fmt.Errorf("replacing a file: %w", err)
		}
		s.staged = s.staged[1:]
	}
	return nil
}

// Discard removes what has not been committed.
func (s *Staging) Discard() error {
	var errs []error
	for _, file := range s.staged {
		errs = append(errs, os.Remove(file.temporary))
	}
	s.staged, s.stale = nil, nil
	return errors.Join(errs...)
}

// An endableWriter refuses to write after the end of the context.
type endableWriter struct {
	ctx context.Context
	io.Writer
}

func (w *endableWriter) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Writer.Write(p)
}
