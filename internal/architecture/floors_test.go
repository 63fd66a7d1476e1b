// Package architecture_test holds the code to docs/architecture.md: the table of packages there is complete, and a
// package imports only packages on lower floors.
package architecture_test

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The header of the table of packages in the document.
const tableHeader = "| floor | package | one line |"

// A row begins with the number and the name of the floor, and the package's path in the module.
var tableRow = regexp.MustCompile("^\\| (\\d+) [a-z]+ \\| `?([a-z0-9/]+)`? \\| [^|]*[^| ][^|]* \\|$")

// Names that tell what kind of Go things a package holds, and nothing about what it is for.
var emptyNames = []string{"common", "helpers", "models", "types", "util", "utils"}

// A building has the floor of each package, by its path in the module.
type building map[string]int

// An importGraph has the packages of the module that each package of the module imports, by their paths in the module.
type importGraph map[string][]string

func parseBuilding(document string) (building, error) {
	_, table, found := strings.Cut(document, tableHeader+"\n")
	if !found {
		return nil, fmt.Errorf("no table with the header %q", tableHeader)
	}
	floors := building{}
	for i, line := range strings.Split(table, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if i == 0 { // the dashes under the header
			continue
		}
		row := tableRow.FindStringSubmatch(line)
		if row == nil {
			return nil, fmt.Errorf("row %d of the table: want `| number name | package | one line |`: %s", i, line)
		}
		floor, err := strconv.Atoi(row[1])
		if err != nil {
			return nil, fmt.Errorf("row %d of the table: %w", i, err)
		}
		if _, twice := floors[row[2]]; twice {
			return nil, fmt.Errorf("row %d of the table: %s has a row already", i, row[2])
		}
		floors[row[2]] = floor
	}
	return floors, nil
}

// violations lists everything that breaks the rules, in a stable order.
func violations(floors building, imports importGraph) []string {
	var found []string
	for _, importer := range slices.Sorted(maps.Keys(imports)) {
		if slices.Contains(emptyNames, path.Base(importer)) {
			found = append(found, importer+": the name does not tell what the package is for")
		}
		floor, known := floors[importer]
		if !known {
			found = append(found, importer+": has no row in the table")
			continue
		}
		for _, imported := range slices.Sorted(slices.Values(imports[importer])) {
			if below, ok := floors[imported]; ok && below >= floor {
				found = append(found,
					fmt.Sprintf("%s (floor %d): may not import %s (floor %d)", importer, floor, imported, below))
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(floors)) {
		if _, exists := imports[pkg]; !exists {
			found = append(found, pkg+": has a row in the table, but does not exist")
		}
	}
	return found
}
