package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/circular-trade/circular-trade/internal/broker"
	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/shard"
	"github.com/circular-trade/circular-trade/internal/smp"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

var (
	// ErrForeignRecord tells that the outbox holds a message to an accounting authority that only another shard may send.
	ErrForeignRecord = errors.New("the outbox holds a message of another shard")

	// ErrNacked tells that the broker has refused messages. They stay in the outbox.
	ErrNacked = errors.New("the broker refuses messages")
)

// DefaultBurst is how many records are sent in one transaction unless a [Config] says otherwise.
const DefaultBurst = 10000

// A Publisher publishes to one broker. A [*broker.Publisher] is one.
type Publisher interface {
	Connect(ctx context.Context) error
	PublishAll(ctx context.Context, batch []broker.Publishing) ([]broker.Outcome, error)
	Close()
}

// Config says what a [Flusher] flushes, where to, and when.
type Config struct {
	DB *workerdb.DB

	// NewPublisher makes a publisher to the broker that gets messages of a class. The flusher closes it.
	NewPublisher func(class smp.Class) Publisher

	// Types are the types of messages to be sent. None: all.
	Types []string

	// Bursts is how many records are sent in one transaction, by type. Missing: [DefaultBurst].
	Bursts map[string]int

	// Processes is how many bursts of each class are sent at the same time. Each of them takes a database connection, and
	// a broker connection. Zero: nothing is sent.
	Processes int

	// Period is the time from the start of one pass through the outbox to the start of the next one, if no commit is
	// noticed before.
	Period time.Duration

	// Listener tells of commits. Nil: only the period counts.
	Listener *postgres.Listener

	// Realm is the part of all keys whose messages to accounting authorities may be sent from here. Those of the other half
	// of the parent's realm, left over from a split, are deleted unsent if DeleteParentRecords is set. All others are an
	// error.
	Realm               shard.Realm
	DeleteParentRecords bool

	// FirstPause is how long a message that the broker has returned rests before it is tried again. The pause doubles each
	// time, up to 10 minutes. Zero: a second.
	FirstPause time.Duration

	Metrics *Metrics
	Logger  *slog.Logger
}

// A Flusher sends messages from the outbox. Any number of flushers can work on the same outbox.
type Flusher struct {
	config Config
	types  map[smp.Class][]string
}

const (
	defaultFirstPause = time.Second
	maxPause          = 10 * time.Minute
)

// NewFlusher returns a flusher, or an error that tells what is wrong with the configuration.
func NewFlusher(config Config) (*Flusher, error) {
	if len(config.Types) == 0 {
		config.Types = Types()
	}
	if config.FirstPause == 0 {
		config.FirstPause = defaultFirstPause
	}
	f := &Flusher{config: config, types: map[smp.Class][]string{}}
	for _, name := range config.Types {
		kind, known := kinds[name]
		if !known {
			return nil, fmt.Errorf("the outbox has no messages of the type %q", name)
		}
		f.types[kind.Class] = append(f.types[kind.Class], name)
	}
	for name, burst := range config.Bursts {
		if burst < 1 {
			return nil, fmt.Errorf("a burst of %s messages must have at least one message, not %d", name, burst)
		}
	}
	if config.Processes < 0 || config.Period < 0 {
		return nil, errors.New("the number of processes and the period must not be negative")
	}
	for _, name := range config.Types {
		config.Metrics.show(name)
	}
	return f, nil
}

// Run sends messages until the context is done, and then returns nil: within 5 seconds, which burst in progress have to
// end in. It waits while a broker cannot be reached.
//
// It fails when the database fails, or when a broker does not confirm messages in time; and after everything else that was
// there has been sent, with [ErrNacked] when a broker refuses messages, and with [ErrForeignRecord]. What has been
// confirmed until then is deleted from the outbox. A message that the broker returns does not make it fail, it is sent
// again after a pause.
//
// When it fails, it stops sending messages of all types. To have messages to accounting authorities and those between
// workers not share a fate, run a flusher for each.
func (f *Flusher) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	f.start(ctx, group, (*lane).run)
	group.Go(func() error { // also if there are no lanes
		<-ctx.Done()
		return nil
	})
	return group.Wait()
}

// RunOnce sends what is in the outbox when it is called, and returns. It fails in the same cases as [Flusher.Run], after it has sent what
// does not share the cause.
func (f *Flusher) RunOnce(ctx context.Context) error {
	var group errgroup.Group
	f.start(ctx, &group, (*lane).pass)
	return group.Wait()
}

// start makes lanes, and has each of them do something. The classes of messages have lanes of their own, so that a broker
// that cannot be reached does not hold up what goes to the other one.
func (f *Flusher) start(ctx context.Context, group *errgroup.Group, do func(*lane, context.Context) error) {
	for class, types := range f.types {
		for range f.config.Processes {
			group.Go(func() error {
				l := &lane{Config: f.config, types: types, publisher: f.config.NewPublisher(class)}
				defer l.publisher.Close()
				return do(l, ctx)
			})
		}
	}
}
