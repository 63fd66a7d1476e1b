package postgres

import (
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsUnreachable reports whether an error tells that the server does not answer, or not yet: it is not there, it is
// starting or stopping, or the connection to it was lost. To try again later may help then. What the server has answered,
// a wrong password for example, is another matter.
func IsUnreachable(err error) bool {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(answer.Code, "08") || // connection exceptions
			strings.HasPrefix(answer.Code, "57P") // starting, stopping, crashed
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok || pgconn.SafeToRetry(err)
}
