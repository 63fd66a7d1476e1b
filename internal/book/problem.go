package book

import (
	"fmt"
	"strings"
)

// maxListed is how many problems of a book are told one by one: enough to repair a book by hand in a few rounds, few
// enough to stay readable when a whole column is wrong.
const maxListed = 20

// A Problem is something in a file that a person has to repair before the book can be used.
type Problem struct {
	File string // name of the file, without its directory
	Line int    // the line where the row begins, from 1

	// Column and Position, from 1, tell where in the row the problem is. They are empty and 0 if it is the whole row.
	Column   string
	Position int

	Reason string
}

func (p Problem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("%s, line %d: %s", p.File, p.Line, p.Reason)
	}
	return fmt.Sprintf("%s, line %d, column %d (%s): %s", p.File, p.Line, p.Position, p.Column, p.Reason)
}

// A ProblemsError tells what is wrong in the files of a book.
type ProblemsError struct {
	Problems []Problem // the first ones, ordered by file and line
	Total    int       // how many there are, with those that are not listed
}

func (e *ProblemsError) Error() string {
	var text strings.Builder
	if e.Total == 1 {
		text.WriteString("there is a problem, please repair it:")
	} else {
		fmt.Fprintf(&text, "there are %d problems, please repair them:", e.Total)
	}
	for _, p := range e.Problems {
		fmt.Fprintf(&text, "\n  %s", p)
	}
	if more := e.Total - len(e.Problems); more > 0 {
		fmt.Fprintf(&text, "\n  ... and %d more", more)
	}
	return text.String()
}

// problems collects what is wrong in one file, or in all of them.
type problems struct {
	listed []Problem
	total  int
}

func (p *problems) add(problem Problem) {
	p.total++
	if len(p.listed) < maxListed {
		p.listed = append(p.listed, problem)
	}
}

func (p *problems) addAll(others problems) {
	p.total += others.total
	room := maxListed - len(p.listed)
	p.listed = append(p.listed, others.listed[:min(room, len(others.listed))]...)
}

// err returns a ProblemsError, or nil if there are no problems.
func (p *problems) err() error {
	if p.total == 0 {
		return nil
	}
	return &ProblemsError{Problems: p.listed, Total: p.total}
}

// maxExamples is how many lines a warning names.
const maxExamples = 5

// A Warning tells about rows of a file that are legal, but have not the effect that their author may expect.
type Warning struct {
	File   string // name of the file, without its directory
	Reason string
	Rows   int   // number of such rows
	Lines  []int // where the first of them are, from 1
}

func (w Warning) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s: ", w.File, w.Reason)
	if w.Rows == 1 {
		text.WriteString("1 row, line")
	} else {
		fmt.Fprintf(&text, "%d rows, lines", w.Rows)
	}
	for i, line := range w.Lines {
		if i > 0 {
			text.WriteString(",")
		}
		fmt.Fprintf(&text, " %d", line)
	}
	if w.Rows > len(w.Lines) {
		text.WriteString(", ...")
	}
	return text.String()
}

func (w *Warning) add(line int) {
	w.Rows++
	if len(w.Lines) < maxExamples {
		w.Lines = append(w.Lines, line)
	}
}
