package book

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Unpack takes the files of a book out of a tar archive, which may be compressed with gzip, and puts them into a
// directory. It looks at the names of the files only, not at the directories that they have in the archive, and ignores
// everything that does not belong to a book.
func Unpack(archive io.Reader, dir string) error {
	buffered := bufio.NewReader(archive)
	archive = buffered
	if mark, _ := buffered.Peek(2); string(mark) == "\x1f\x8b" {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		archive = unzipped
	}
	members := tar.NewReader(archive)
	for {
		header, err := members.Next()
		switch {
		case errors.Is(err, io.EOF):
			// What comes after the end is padding; who writes it into a pipe should be able to finish.
			if _, err := io.Copy(io.Discard, archive); err != nil {
				return fmt.Errorf("reading the end of the archive: %w", err)
			}
			return nil
		case errors.Is(err, tar.ErrHeader):
			return fmt.Errorf("reading the archive: it is not a tar archive, with or without gzip: %w", err)
		case err != nil:
			return fmt.Errorf("reading the archive: %w", err)
		}
		name := path.Base(header.Name)
		if header.Typeflag != tar.TypeReg || !belongsToBook(name) {
			continue
		}
		if err := unpackMember(members, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("unpacking %q: %w", header.Name, err)
		}
	}
}

func belongsToBook(name string) bool {
	name = strings.TrimSuffix(name, ".gz")
	for _, file := range files {
		if name == file.name+".csv" {
			return true
		}
	}
	return false
}

func unpackMember(content io.Reader, target string) error {
	file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w: the archive has two files of this name", ErrNoBook)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// PackOutcome writes the files of an outcome as a tar archive.
func PackOutcome(w io.Writer, dir string) error {
	archive := tar.NewWriter(w)
	for _, name := range []string{takingsFile, givingsFile, transfersFile, ringsFile} {
		err := packFile(archive, filepath.Join(dir, name))
		if err != nil && !(name == ringsFile && errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("packing %s: %w", name, err)
		}
	}
	return archive.Close()
}

func packFile(archive *tar.Writer, source string) (err error) {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: filepath.Base(source), Mode: 0o644, Size: info.Size(), ModTime: info.ModTime()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}
