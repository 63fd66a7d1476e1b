package architecture_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestViolations(t *testing.T) {
	t.Parallel()
	floors := building{"internal/low": 0, "internal/lower": 0, "internal/high": 1, "cmd/door": 5}
	sound := func() importGraph {
		return importGraph{
			"internal/low":   {},
			"internal/lower": {},
			"internal/high":  {"internal/low"},
			"cmd/door":       {"internal/low", "internal/high"},
		}
	}
	for name, test := range map[string]struct {
		change func(importGraph)
		want   []string
	}{
		"sound": {func(importGraph) {}, nil},
		"import of a higher floor": {
			func(g importGraph) { g["internal/low"] = []string{"internal/high"} },
			[]string{"internal/low (floor 0): may not import internal/high (floor 1)"},
		},
		"import of the same floor": {
			func(g importGraph) { g["internal/low"] = []string{"internal/lower"} },
			[]string{"internal/low (floor 0): may not import internal/lower (floor 0)"},
		},
		"package without a row, and its importer": {
			func(g importGraph) { g["internal/new"] = nil; g["cmd/door"] = []string{"internal/new"} },
			[]string{"internal/new: has no row in the table"},
		},
		"row without a package": {
			func(g importGraph) { delete(g, "internal/lower") },
			[]string{"internal/lower: has a row in the table, but does not exist"},
		},
		"name that tells nothing": {
			func(g importGraph) { g["internal/low/util"] = nil },
			[]string{
				"internal/low/util: the name does not tell what the package is for",
				"internal/low/util: has no row in the table",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			imports := sound()
			test.change(imports)
			if got := violations(floors, imports); !reflect.DeepEqual(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

func TestParseBuilding(t *testing.T) {
	t.Parallel()
	const start = "# Title\n\n| floor | package | one line |\n|---|---|---|\n| 0 names | `internal/low` | the ground |\n"
	for name, test := range map[string]struct {
		document  string
		want      building
		complaint string
	}{
		"with text after it": {
			start + "| 5 doors | cmd/door | a way in |\n\nText.\n\n| 7 | another | table |\n",
			building{"internal/low": 0, "cmd/door": 5},
			"",
		},
		"at the end of the file": {start, building{"internal/low": 0}, ""},
		"no table":               {"# Title\n", nil, "no table"},
		"floor without a number": {start + "| pure | internal/x | something |\n", nil, "row 2"},
		"no line about it":       {start + "| 1 pure | internal/x |  |\n", nil, "row 2"},
		"missing column":         {start + "| 1 pure | internal/x |\n", nil, "row 2"},
		"huge number":            {start + "| 99999999999999999999 pure | internal/x | text |\n", nil, "out of range"},
		"a package twice":        {start + "| 1 pure | internal/low | again |\n", nil, "internal/low has a row already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseBuilding(test.document)
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if (err == nil) != (test.complaint == "") || err != nil && !strings.Contains(err.Error(), test.complaint) {
				t.Errorf("error %v, want one that says %q", err, test.complaint)
			}
		})
	}
}

func TestReadImports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"a/a.go":             "package a\nimport (\"fmt\"; \"" + module + "/b\")\n",
		"a/a_test.go":        "package a\nimport \"" + module + "/b/c\"\n",
		"a/outside_test.go":  "package a_test\nimport \"" + module + "/d\"\n",
		"a/testdata/skip.go": "package skip\n",
		"b/b.go":             "package b\n",
		"b/c/c_test.go":      "package c\n",
		"other/go.mod":       "module example.com/other\n",
		"other/other.go":     "package other\n",
		"text/README.md":     "no package\n",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readImports(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := (importGraph{"a": {"b", "b/c"}, "b": {}, "b/c": {}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := readImports(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory was read without an error")
	}
}
