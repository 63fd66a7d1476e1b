package config

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// contractualDefaults returns all variables with their defaults, as other software that runs the service knows them. It
// reads testdata/contract.txt, where a dash stands for an unset variable. Do not change that because of a failed test.
func contractualDefaults(t *testing.T) map[string]string {
	t.Helper()
	contract, err := os.ReadFile("testdata/contract.txt")
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for line := range strings.Lines(string(contract)) {
		if name, text, found := strings.Cut(strings.TrimSpace(line), " "); found {
			if text == "-" {
				text = ""
			}
			defaults[name] = text
			if table, isScan := strings.CutSuffix(name, "_SCAN_DAYS"); isScan {
				defaults[table+"_SCAN_BLOCKS_PER_QUERY"], defaults[table+"_SCAN_BEAT_MILLISECS"] = "40", "100"
			}
		}
	}
	return defaults
}

func TestContract(t *testing.T) {
	t.Parallel()
	want := contractualDefaults(t)
	for _, v := range Variables() {
		text, known := want[v.Name]
		if !known || text != v.Default {
			t.Errorf("%s has the default %q, want %q (in the contract: %v)", v.Name, v.Default, text, known)
		}
		delete(want, v.Name)
		if v.Doc == "" && v.Group != "Bursts" || GroupDoc(v.Group) == "" || v.Format == "" {
			t.Errorf("%s is not documented: %+v", v.Name, v)
		}
		if again, known := Lookup(v.Name); !known || again != v {
			t.Errorf("%s is looked up as %+v", v.Name, again)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", slices.Sorted(maps.Keys(want)))
	}
	if _, known := Lookup("GUNICORN_LOGLEVEL"); known {
		t.Error("a variable of other software is known")
	}
}

// development.env names all variables and nothing else, and to use what it says is the same as to use the defaults.
func TestEnvironmentFileHasTheDefaults(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../development.env")
	if err != nil {
		t.Fatal(err)
	}
	want := contractualDefaults(t)
	var environment []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			t.Errorf("a line is in effect: %s", line)
		}
		name, value, isSetting := strings.Cut(strings.TrimPrefix(line, "# "), "=")
		if !isSetting || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			continue
		}
		if text, known := want[name]; !known || text != value {
			t.Errorf("%s is %q, want %q (known and not repeated: %v)", name, value, text, known)
		}
		delete(want, name)
		if value != "" && !strings.HasPrefix(value, "$") {
			environment = append(environment, name+"="+value)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", slices.Sorted(maps.Keys(want)))
	}
	var given, defaults struct{ All }
	if _, errs := load(t, &given, environment...); errs != nil {
		t.Error(errs)
	}
	if _, errs := load(t, &defaults); errs != nil {
		t.Error(errs)
	}
	if !reflect.DeepEqual(given, defaults) {
		t.Errorf("with the file %+v, without %+v", given, defaults)
	}
}
