package adminapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

const maxBodyBytes = 16 << 10

// ActivateCollectorsRequest says how many collectors a debtor should have. An empty request is one without members.
type ActivateCollectorsRequest struct {
	Type             string `json:"type,omitempty" enum:"ActivateCollectorsRequest" doc:"The type of this object."`
	NumberOfAccounts int64  `json:"numberOfAccounts,omitempty" minimum:"1" default:"1" doc:"The number of collector accounts that should be alive, at most 2^63-1."`
}

// activationBody documents the body of the request.
func activationBody(schemas huma.Registry) *huma.RequestBody {
	schema := schemas.Schema(reflect.TypeFor[ActivateCollectorsRequest](), true, "")
	return &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// activation is the input of the operation that has collectors made. The body is read here and not by huma, which would
// take null for an absent number, letter case for a matter of taste, and large numbers for approximations.
type activation struct {
	DebtorPath
	count int64
}

// Resolve reads the body, whatever content type it claims to have.
func (a *activation) Resolve(ctx huma.Context) []error {
	text, err := io.ReadAll(io.LimitReader(ctx.BodyReader(), maxBodyBytes+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return []error{newError(http.StatusRequestTimeout, "the body has not come in time")}
	case err != nil:
		return []error{newError(http.StatusBadRequest, "the body could not be read")}
	case len(text) > maxBodyBytes:
		message := "the body has more than " + strconv.Itoa(maxBodyBytes) + " bytes"
		return []error{newError(http.StatusRequestEntityTooLarge, message)}
	}
	count, refusal := parseActivation(text)
	if refusal != nil {
		return []error{refusal}
	}
	a.count = count
	return nil
}

// parseActivation reads an [ActivateCollectorsRequest], and returns how many collectors there should be.
func parseActivation(text []byte) (count int64, refusal *Error) {
	if len(text) == 0 {
		return 1, nil
	}
	if !json.Valid(text) {
		return 0, newError(http.StatusBadRequest, "the body is not JSON")
	}
	refusal = newError(http.StatusUnprocessableEntity, "the body does not make sense")
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		refusal.add("json", "_schema", "must be an object")
		return 0, refusal
	}
	count = 1
	for name, value := range members {
		reason := ""
		switch name {
		case "type":
			var given *string
			if json.Unmarshal(value, &given) != nil || given == nil || *given != "ActivateCollectorsRequest" {
				reason = "must be ActivateCollectorsRequest"
			}
		case "numberOfAccounts":
			var given *int64
			if json.Unmarshal(value, &given) != nil || given == nil || *given < 1 {
				reason = "must be an integer from 1 to 2^63-1"
			} else {
				count = *given
			}
		default:
			reason = "there is no such member"
		}
		if reason != "" {
			refusal.add("json", name, reason)
		}
	}
	if refusal.Errors != nil {
		return 0, refusal
	}
	return count, nil
}
