package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	reply := func(code int) error { return &amqp.Error{Code: code, Server: true} }
	for _, tc := range []struct {
		err         error
		unreachable bool
	}{
		{reply(amqp.ConnectionForced), true},
		{reply(amqp.InternalError), true},
		{reply(amqp.NotFound), false},
		{reply(amqp.AccessRefused), false},
		{reply(amqp.PreconditionFailed), false},
		{reply(amqp.NotAllowed), false},
		{amqp.ErrClosed, true},
		{amqp.ErrVhost, true}, // a connection that breaks when the virtual host is opened; a refusal is a reply
		{amqp.ErrCredentials, false},
		{amqp.ErrSASL, false},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, true},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, true},
		{io.EOF, true},
		{context.Canceled, false},
		{errors.New("certificate signed by unknown authority"), false},
		{ErrURL, false},
	} {
		err := classify(fmt.Errorf("do something: %w", tc.err))
		if errors.Is(err, ErrUnreachable) != tc.unreachable || !errors.Is(err, tc.err) {
			t.Errorf("%v: %v", tc.err, err)
		}
	}
	if err := classify(nil); err != nil {
		t.Error(err)
	}
}
