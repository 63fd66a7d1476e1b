package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// A Component is a part of a process that works on its own for as long as the process runs.
type Component struct {
	// Name is unique in the process. It is the component's name in the log, in metrics, and in /readyz.
	Name string

	// Run does the work until the context ends, and returns when nothing of it is left over: no goroutine, no lock. It
	// may be called again after it has returned. The error does not matter once the context has ended.
	Run func(ctx context.Context) error

	// EndsByItself tells that Run may return nil when there is nothing left to do. Otherwise, that is a failure.
	EndsByItself bool

	// StandsBy reports whether Run just waits, because another process does the same work at the moment. Then the component
	// is not running, as metrics show, but it is ready: the work is done, and it takes over when the other one ends. Nil: it
	// never stands by.
	StandsBy func() bool
}

// Copies returns n components that do the same, side by side. If there are several, their names are numbered. If n is 0
// or less, there is one that does nothing, for a process has to stay alive even if there is nothing for it to do.
func Copies(n int, component Component) []Component {
	switch {
	case n <= 0:
		return []Component{{Name: component.Name, Run: idle}}
	case n == 1:
		return []Component{component}
	}
	copies := make([]Component, n)
	for i := range copies {
		copies[i] = component
		copies[i].Name += "-" + strconv.Itoa(i+1)
	}
	return copies
}

func idle(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// A Check finds out whether a server that the components depend on, such as a database, answers.
type Check struct {
	// Name tells in /readyz which server it is that does not answer.
	Name string

	// Answers returns nil if the server answers, and has to return when the context ends. It is called when somebody
	// looks at /readyz, by one goroutine at a time and not more often than once a second.
	Answers func(ctx context.Context) error
}

// Fatal marks an error of a component that no restart can mend: a misconfiguration, for example, or another process
// that does the same work. It ends the process. The text of the error stays the same. Fatal(nil) is nil.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatalError{err}
}

type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

func isFatal(err error) bool {
	_, fatal := errors.AsType[fatalError](err)
	return fatal
}

// errEnded is the failure of a component that should have gone on.
var errEnded = errors.New("it has ended without having been asked to")

// A componentError is a failure that has ended the process.
type componentError struct {
	name string
	err  error
}

func (e *componentError) Error() string { return "component " + e.name + ": " + e.err.Error() }

func (e *componentError) Unwrap() error { return e.err }

// A panicError is the failure of a component that has panicked.
type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Unwrap returns what the component has panicked with, if that is an error.
func (e panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
