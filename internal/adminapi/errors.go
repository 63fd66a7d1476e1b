package adminapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// An Error is the body of every answer that is not a success.
type Error struct {
	Code    int                            `json:"code" doc:"The status code." example:"404"`
	Status  string                         `json:"status" doc:"The name of the status code." example:"Not Found"`
	Message string                         `json:"message" doc:"What is wrong, and what to do about it."`
	Errors  map[string]map[string][]string `json:"errors,omitempty" doc:"What is wrong with the input: first by where it is (json, query), then by its name."`
}

// newError returns an error with a status code.
func newError(code int, message string) *Error {
	return &Error{Code: code, Status: http.StatusText(code), Message: message}
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// GetStatus returns the status code. It has huma take this type for an answer.
func (e *Error) GetStatus() int { return e.Code }

// add says what is wrong with some part of the input.
func (e *Error) add(place, name, reason string) {
	if e.Errors == nil {
		e.Errors = map[string]map[string][]string{}
	}
	if e.Errors[place] == nil {
		e.Errors[place] = map[string][]string{}
	}
	e.Errors[place][name] = append(e.Errors[place][name], reason)
}

// write sends the error.
func (e *Error) write(w http.ResponseWriter) {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // it consists of text and a number
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(e.Code)
	_, _ = w.Write(body) // who has asked may be gone
}

// useErrors has huma make errors of the type [Error]. It can only be told so globally, and only before it is used.
var useErrors = sync.OnceFunc(func() {
	huma.NewError = func(code int, message string, details ...error) huma.StatusError {
		made := newError(code, message)
		for _, detail := range details {
			if own, ok := errors.AsType[*Error](detail); ok {
				return own
			}
			if known, ok := detail.(huma.ErrorDetailer); ok {
				place, name, _ := strings.Cut(known.ErrorDetail().Location, ".")
				made.add(place, name, known.ErrorDetail().Message)
			}
		}
		return made
	}
})

// The messages of some status codes.
const (
	noRoute     = "there is nothing at this path"
	noToken     = "a token is needed: Authorization: Bearer TOKEN"
	badToken    = "the token is not valid, or not any more"
	notAsked    = "the authorization server does not tell whether the token is valid; try again later"
	notAccess   = "only access tokens can be used here"
	notAllowed  = "whoever the token stands for may not do this"
	tooFast     = "too many requests; wait a second"
	tooMany     = "too many requests are waiting; try again later"
	notFinished = "the solver database does not answer; try again later"
	notSetUp    = `the solver database is not set up: run "trade configure"`
	failed      = "something is wrong with this server; its log tells what"
)

// methodNotAllowed answers requests for a path that exists, with a method that does not.
func methodNotAllowed(methods []string) http.HandlerFunc {
	slices.Sort(methods)
	allowed := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		newError(http.StatusMethodNotAllowed, "this path takes: "+allowed).write(w)
	}
}
