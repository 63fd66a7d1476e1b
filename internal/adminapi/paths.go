package adminapi

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// splitPattern returns the method and the path of a route's pattern.
func splitPattern(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return method, path
}

var unsignedPattern = regexp.MustCompile(`\A(0|[1-9]\d{0,19})\z`)

// parseUnsigned reads a 64-bit ID in the only form that it has in this API: unsigned decimal, without leading zeros.
func parseUnsigned(text string) (id int64, ok bool) {
	if !unsignedPattern.MatchString(text) {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 64)
	return int64(number), err == nil //nolint:gosec // in two's complement
}

// formatID writes an ID as [parseUnsigned] reads it.
func formatID[ID ~int64](id ID) string {
	return strconv.FormatUint(uint64(id), 10)
}

// DebtorPath is the input of operations that concern a debtor. It is exported because huma does not see it otherwise.
type DebtorPath struct {
	DebtorID string `path:"debtorId" pattern:"^(0|[1-9][0-9]{0,19})$" doc:"The ID of the debtor, unsigned." example:"4294967296"`
}

func (p DebtorPath) id() swpt.DebtorID {
	id, _ := parseUnsigned(p.DebtorID) // isDebtorPath has looked at it
	return swpt.DebtorID(id)
}

func isDebtorPath(ctx huma.Context) bool {
	_, ok := parseUnsigned(ctx.Param("debtorId"))
	return ok
}

// TurnPath is the input of operations that concern a turn.
type TurnPath struct {
	TurnID string `path:"turnId" pattern:"^(0|[1-9][0-9]{0,9})$" doc:"The ID of the turn." example:"17"`
}

func (p TurnPath) id() int32 {
	id, _ := parseTurnID(p.TurnID) // isTurnPath has looked at it
	return id
}

func isTurnPath(ctx huma.Context) bool {
	_, ok := parseTurnID(ctx.Param("turnId"))
	return ok
}

// parseTurnID reads the ID of a turn.
func parseTurnID(text string) (id int32, ok bool) {
	if !unsignedPattern.MatchString(text) {
		return 0, false
	}
	number, err := strconv.ParseInt(text, 10, 32)
	return int32(number), err == nil
}
