package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	// ErrHeld tells that another process does the same work. One of the two has to be stopped.
	ErrHeld = errors.New("another process holds the lock")

	// ErrLost tells that the connection was lost that the lock depends on. It is the cause for which the context of
	// the work has been cancelled.
	ErrLost = errors.New("the connection that holds the lock is lost")
)

const (
	retryPause = time.Second // between two attempts to get the lock

	// queryTimeout bounds each query of the guard. All of them are a matter of milliseconds.
	queryTimeout = 5 * time.Second

	// Has the work to end because the lock is lost, it should do so within this time: all in all that is 5 seconds after
	// the server has been heard of for the last time.
	endTimeout = time.Second

	closeTimeout = time.Second
)

// A Guard runs work that only one process may do at a time.
type Guard struct {
	// Component is the name of the work. All processes that share it keep each other off.
	Component string

	// Connect makes a connection for the guard alone, straight to the server on which the work is done. The current
	// schema is part of the lock.
	Connect func(ctx context.Context) (*pgx.Conn, error)

	// Wait is how long to be patient with a process that holds the lock: when a program is replaced by a newer one,
	// both run for a short time.
	Wait time.Duration

	// StandBy makes the guard wait for as long as it takes. Otherwise, it gives up with [ErrHeld].
	StandBy bool

	// Held, if it is not nil, is told true when another process is found to hold the lock, and false when that is over, or
	// the guard does not wait for it any more.
	Held func(held bool)

	Logger *slog.Logger
}

// Run gets the lock, and then calls work, whose context ends with ctx or when the lock is lost. In the latter case, Run
// gets the lock again and calls work again. It returns what work has returned otherwise.
//
// While another process holds the lock, Run tries to get it every second. When the guard has been patient for long
// enough, Run logs, once, as an error, who that is, and returns [ErrHeld], unless the guard is to stand by.
//
// If there is no connection to be had, or the database does not answer, Run fails: when to try again is for the caller
// to decide. It returns after work has, and never holds the lock then.
func (g Guard) Run(ctx context.Context, work func(context.Context) error) error {
	for {
		lost, err := g.runOnce(ctx, work)
		if lost == nil || ctx.Err() != nil {
			return err
		}
		g.Logger.ErrorContext(ctx, "stopped the work, because its lock may be lost",
			slog.String("component", g.Component), slog.Any("error", lost))
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// runOnce calls work while it holds the lock. It returns what has become of the lock, and what work has returned.
func (g Guard) runOnce(ctx context.Context, work func(context.Context) error) (lost, err error) {
	conn, err := g.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to get the lock of %s: %w", g.Component, err)
	}
	defer closeConn(ctx, conn)
	if err := g.obtain(ctx, conn); err != nil {
		return nil, fmt.Errorf("getting the lock of %s: %w", g.Component, err)
	}
	working, lose := context.WithCancelCause(ctx)
	// The watch goes on until the work has ended. To end it in the middle of a ping would cost the connection, and with
	// it the lock.
	watching, endWatch := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	defer func() { // also if the work panics
		endWatch()
		<-watched
		lose(nil)
	}()
	go func() {
		defer close(watched)
		if err := watch(watching, conn); err != nil {
			lose(fmt.Errorf("%w: %w", ErrLost, err))
			g.complainIfNotEnded(watching)
		}
	}()
	err = work(working)
	if cause := context.Cause(working); errors.Is(cause, ErrLost) {
		return cause, err
	}
	return nil, err
}

// obtain gets the lock for the session of the connection.
func (g Guard) obtain(ctx context.Context, conn *pgx.Conn) error {
	lock, err := newLock(ctx, conn, g.Component)
	if err != nil {
		return err
	}
	giveUp := time.Now().Add(g.Wait)
	again := time.NewTicker(retryPause)
	defer again.Stop()
	defer g.tell(false)
	for told := false; ; {
		obtained, err := lock.try(ctx, conn)
		if err != nil || obtained {
			return err
		}
		g.tell(true)
		if !told && !time.Now().Before(giveUp) {
			complaint := "another " + g.Component + " is already running on this database" + lock.holder(ctx, conn)
			g.Logger.ErrorContext(ctx, complaint) //nolint:sloglint // operators know the line by its wording
			told = true
			if !g.StandBy {
				return ErrHeld
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (g Guard) tell(held bool) {
	if g.Held != nil {
		g.Held(held)
	}
}

// complainIfNotEnded tells that the work goes on, unless that is over before the work had to end.
func (g Guard) complainIfNotEnded(watching context.Context) {
	select {
	case <-time.After(endTimeout):
		g.Logger.ErrorContext(watching, "the work goes on although its lock may be lost",
			slog.String("component", g.Component), slog.Duration("after", endTimeout))
	case <-watching.Done():
	}
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	// The server would release the lock, too, but only when it gets to ending the session. The next process should not
	// find it held by one that has ended.
	_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	_ = conn.Close(ctx) // the connection is gone either way
}
