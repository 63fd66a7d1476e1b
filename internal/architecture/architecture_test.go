package architecture_test

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module   = "github.com/circular-trade/circular-trade"
	root     = "../.." // of the module, seen from here
	document = "docs/architecture.md"
)

func TestFloors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	floors, err := parseBuilding(string(text))
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	imports, err := readImports(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range violations(floors, imports) {
		t.Errorf("%s: %s", document, violation)
	}
}

// readImports reads which packages of the module import which others. It looks at the source files itself instead of
// asking "go list", so that the go command knows what the test has read and runs it again when any of that changes.
// External test packages (package x_test) are left out: they may use what stands above the package that they test.
func readImports(root string) (importGraph, error) {
	imports := importGraph{}
	err := filepath.WalkDir(root, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if dir != root && outsideModule(dir) {
			return filepath.SkipDir
		}
		pkg, err := build.ImportDir(dir, 0)
		if noGo := (*build.NoGoError)(nil); errors.As(err, &noGo) {
			return nil
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		imports[name] = []string{}
		for _, imported := range slices.Concat(pkg.Imports, pkg.TestImports) {
			if below, ok := strings.CutPrefix(imported, module+"/"); ok {
				imports[name] = append(imports[name], below)
			}
		}
		return nil
	})
	return imports, err
}

// outsideModule reports whether the go command takes the directory for a part of another module or of none.
func outsideModule(dir string) bool {
	base := filepath.Base(dir)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
