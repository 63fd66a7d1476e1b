package config

import (
	"time"

	"github.com/circular-trade/circular-trade/internal/shard"
)

// Shard is the part of all records and messages that a worker owns.
type Shard struct {
	// Shard of this worker, and binding key of its queues: 0. or 1. repeated at most 16 times, then #.
	Realm shard.Realm `env:"PROTOCOL_BROKER_QUEUE_ROUTING_KEY" default:"#"`
}

// ParentShard is about what a worker has inherited from the shard of which it is a half.
type ParentShard struct {
	// Delete left-overs of the parent shard, after a split.
	DeleteRecords bool `env:"DELETE_PARENT_SHARD_RECORDS" default:"false"`
}

// ProtocolBroker leads to the broker that connects a worker with accounting authorities and the creditors agent.
type ProtocolBroker struct {
	// RabbitMQ server for the Swaptacular Messaging Protocol.
	URL BrokerURL `env:"PROTOCOL_BROKER_URL" default:"amqp://guest:guest@localhost:5672"`
	// Queue of this worker there.
	Queue string `env:"PROTOCOL_BROKER_QUEUE" default:"swpt_trade" validate:"required"`
}

// InternalBroker leads to the broker that connects the workers with each other.
type InternalBroker struct {
	// RabbitMQ server for messages between workers. Unset: they go through the protocol broker, and its queue.
	URL BrokerURL `env:"INTERNAL_BROKER_URL"`
	// Queue of this worker there.
	Queue string `env:"INTERNAL_BROKER_QUEUE" default:"$PROTOCOL_BROKER_QUEUE-internal" validate:"required"`
}

// IsSet reports whether there is a broker for messages between workers. If not, the protocol broker carries them.
func (b InternalBroker) IsSet() bool { return b.URL != "" }

// BrokerSetup is for the command configure.
type BrokerSetup struct {
	// Exactly yes: configure also declares exchanges, queues and bindings.
	Bindings string `env:"SETUP_RABBITMQ_BINDINGS"`
}

// Requested reports whether broker objects are to be declared.
func (s BrokerSetup) Requested() bool { return s.Bindings == "yes" }

// ProtocolConsumer is about handling the messages in PROTOCOL_BROKER_QUEUE.
type ProtocolConsumer struct {
	// Messages handled at the same time: the product of processes and threads. 0 processes: none, but stay alive.
	Processes int `env:"PROTOCOL_BROKER_PROCESSES" default:"1" validate:"gte=0"`
	// See PROTOCOL_BROKER_PROCESSES.
	Threads int `env:"PROTOCOL_BROKER_THREADS" default:"1" validate:"gte=1"`
	// Messages that the broker sends ahead. 0: no limit.
	PrefetchCount int `env:"PROTOCOL_BROKER_PREFETCH_COUNT" default:"1" validate:"gte=0,lte=65535"`
	// Bytes that the broker sends ahead. 0: no limit. RabbitMQ supports nothing else.
	PrefetchSize int `env:"PROTOCOL_BROKER_PREFETCH_SIZE" default:"0" validate:"gte=0,lte=4294967295"`
}

// InternalConsumer is about handling the messages in INTERNAL_BROKER_QUEUE.
type InternalConsumer struct {
	// Messages handled at the same time: the product of processes and threads. 0 processes: none, but stay alive.
	Processes int `env:"INTERNAL_BROKER_PROCESSES" default:"1" validate:"gte=0"`
	// See INTERNAL_BROKER_PROCESSES.
	Threads int `env:"INTERNAL_BROKER_THREADS" default:"1" validate:"gte=1"`
	// Messages that the broker sends ahead. 0: no limit.
	PrefetchCount int `env:"INTERNAL_BROKER_PREFETCH_COUNT" default:"1" validate:"gte=0,lte=65535"`
	// Bytes that the broker sends ahead. 0: no limit. RabbitMQ supports nothing else.
	PrefetchSize int `env:"INTERNAL_BROKER_PREFETCH_SIZE" default:"0" validate:"gte=0,lte=4294967295"`
}

// InternalMessages is about what workers tell each other.
type InternalMessages struct {
	// Send the message types that swpt_trade does not know. Set to false while workers that run swpt_trade share the
	// broker.
	Extended bool `env:"APP_EXTENDED_INTERNAL_MESSAGES" default:"true"`
}

// Flush is about publishing what waits in the outbox.
type Flush struct {
	// Outbox records are published by so many flushers at the same time. 0: by none.
	Processes int `env:"FLUSH_PROCESSES" default:"1" validate:"gte=0"`
	// Time between two looks at the outbox, from start to start.
	Period time.Duration `env:"FLUSH_PERIOD" default:"2.0" unit:"s"`
}

// Fetch is about downloading debtor info documents, whose addresses come from strangers.
type Fetch struct {
	// Number of document fetchers. 0: nothing is fetched.
	Processes int `env:"HTTP_FETCH_PROCESSES" default:"1" validate:"gte=0"`
	// Time between two looks for due fetches, from start to start.
	Period time.Duration `env:"HTTP_FETCH_PERIOD" default:"5.0" unit:"s"`
	// Connections that a fetcher may have at the same time.
	Connections int `env:"HTTP_FETCH_CONNECTIONS" default:"100" validate:"gte=1"`
	// Connections that a fetcher may have to one host at the same time.
	HostConnections int `env:"APP_HTTP_FETCH_HOST_CONNECTIONS" default:"10" validate:"gte=1"`
	// Time for a whole fetch, from looking up the name to the last byte.
	Timeout time.Duration `env:"HTTP_FETCH_TIMEOUT" default:"10.0" unit:"s" validate:"gt=0"`
	// Largest document, in bytes.
	MaxBodyBytes int64 `env:"APP_HTTP_FETCH_MAX_BODY_BYTES" default:"262144" validate:"gte=1"`
	// File with the certificates (PEM) that fetches trust. Empty, or no such file: those of the system.
	CertFile string `env:"HTTP_FETCH_SSL_CERT_FILE" default:"/etc/ssl/certs/ca-certificates.crt"`
	// Verify the certificates of servers. False is for tests.
	VerifyCerts bool `env:"APP_VERIFY_SSL_CERTS" default:"true"`
	// Fetch from private addresses, too. Unset: only if APP_VERIFY_SSL_CERTS is false.
	PrivateAddresses *bool `env:"APP_HTTP_FETCH_ALLOW_PRIVATE"`
	// Fetches per transaction.
	BurstCount int `env:"APP_DEBTOR_INFO_FETCH_BURST_COUNT" default:"2000" validate:"gte=1"`
}

// AllowPrivate reports whether documents may be fetched from private addresses.
func (f Fetch) AllowPrivate() bool {
	if f.PrivateAddresses != nil {
		return *f.PrivateAddresses
	}
	return !f.VerifyCerts
}

// DebtorInfo is about how long is believed what is known about currencies.
type DebtorInfo struct {
	// Days without confirmation after which documents, and debtors' claims to documents, are forgotten.
	ClaimExpiry time.Duration `env:"APP_LOCATOR_CLAIM_EXPIRY_DAYS" default:"45" unit:"d" validate:"gte=30"`
	// Days after which a document is fetched again, unless it has promised not to change.
	DocumentExpiry time.Duration `env:"APP_DEBTOR_INFO_EXPIRY_DAYS" default:"7" unit:"d" validate:"gte=1"`
}

// Transfers is about moving tokens.
type Transfers struct {
	// Time in which outgoing transfers normally succeed. Deadlines for committing transfers follow from it.
	HealthyCommitDelay time.Duration `env:"TRANSFERS_HEALTHY_MAX_COMMIT_DELAY" default:"2h" validate:"gte=1"`
	// Fraction of every transferred amount that the node keeps.
	AmountCut float64 `env:"TRANSFERS_AMOUNT_CUT" default:"1e-5" validate:"gte=1e-10,lte=0.1"`
}

// RollPeriod is the time between two looks at the dispatching statuses, from start to start: a twelfth of the time in
// which transfers normally succeed.
func (t Transfers) RollPeriod() time.Duration { return t.HealthyCommitDelay / 12 }

// Trigger is about transfer attempts whose time has come.
type Trigger struct {
	// Number of components that look for such attempts. 0: none does.
	Processes int `env:"TRIGGER_TRANSFERS_PROCESSES" default:"1" validate:"gte=0"`
	// Time between two looks, from start to start.
	Period time.Duration `env:"TRIGGER_TRANSFERS_PERIOD" default:"5.0" unit:"s"`
	// Attempts per transaction.
	BurstCount int `env:"APP_RESCHEDULED_TRANSFERS_BURST_COUNT" default:"5000" validate:"gte=1"`
}

// PristineCollectors is about getting accounts for new collectors.
type PristineCollectors struct {
	// Collectors treated at the same time.
	Threads int `env:"HANDLE_PRISTINE_COLLECTORS_THREADS" default:"1" validate:"gte=1"`
	// Time between two looks for new collectors, from start to start.
	Period time.Duration `env:"HANDLE_PRISTINE_COLLECTORS_PERIOD" default:"60.0" unit:"s"`
	// Largest number of collectors treated after one look.
	MaxCount int `env:"APP_HANDLE_PRISTINE_COLLECTORS_MAX_COUNT" default:"100000" validate:"gte=1"`
}

// WorkerTurns is about following the solver.
type WorkerTurns struct {
	// Pause between two looks at the turns.
	Wait time.Duration `env:"APP_ROLL_WORKER_TURNS_WAIT" default:"60.0" unit:"s"`
}

// Pouring says when in phase 2 a worker ends making offers, and begins to write them to the solver database.
type Pouring struct {
	// How long before the deadline of phase 2 a worker begins to write its offers to the solver database; never before
	// half of the time from the turn's start has passed. Unset: see APP_TURN_PHASE_CUSHION_PERIOD.
	Duration *time.Duration `env:"OFFERS_POURING_DURATION"`
	// The same, in use while OFFERS_POURING_DURATION is unset; but not more than a tenth of the time from the turn's
	// start to the deadline.
	Cushion time.Duration `env:"APP_TURN_PHASE_CUSHION_PERIOD" default:"5m"`
}

// Lead is how long before the deadline of phase 2 the pouring begins. It takes the time from the turn's start to that
// deadline.
func (p Pouring) Lead(startToDeadline time.Duration) time.Duration {
	if p.Duration != nil {
		return min(*p.Duration, startToDeadline/2)
	}
	return min(p.Cushion, startToDeadline/10)
}

// Accounts says which accounts can take part in trades.
type Accounts struct {
	// Lowest interest rate, in percent per year. Accounts with a worse demurrage do not take part.
	MinDemurrageRate float64 `env:"APP_MIN_DEMURRAGE_RATE" default:"-50.0" validate:"gte=-99,lte=0"`
	// Accounts whose transfer notes cannot have so many bytes do not take part. The longest note has 77.
	MinTransferNoteMaxBytes int `env:"APP_MIN_TRANSFER_NOTE_MAX_BYTES" default:"80" validate:"gte=77"`
}

// InterestRates is about the past interest rates of accounts.
type InterestRates struct {
	// How long changes of an account's interest rate are remembered, at least.
	HistoryPeriod time.Duration `env:"APP_INTEREST_RATE_HISTORY_PERIOD" default:"180d"`
}

// rateMargin is how much longer interest rates are remembered than transfers are attempted.
const rateMargin = 10 * 24 * time.Hour

// Remembered is how long changes of interest rates are remembered: as long as the setting says, and as long as there can
// be transfers that depend on them.
func (r InterestRates) Remembered(commit CommitPeriod, slacks Slacks) time.Duration {
	return max(r.HistoryPeriod, commit.Max+max(slacks.Collecting, slacks.Sending, slacks.Dispatching)+rateMargin)
}

// Silence says from when on messages are not expected any more.
type Silence struct {
	// Days after which a message is hopelessly late.
	ExtremeMessageDelay time.Duration `env:"APP_EXTREME_MESSAGE_DELAY_DAYS" default:"7" unit:"d" validate:"gt=0"`
	// Days of silence after which a collector account is dead.
	MaxHeartbeatDelay time.Duration `env:"APP_MAX_HEARTBEAT_DELAY_DAYS" default:"365" unit:"d" validate:"gt=0"`
}

// AccountLocks says when locked amounts that nobody has asked for any more are forgotten.
type AccountLocks struct {
	// Days after which a lock is deleted.
	MaxAge time.Duration `env:"APP_ACCOUNT_LOCK_MAX_DAYS" default:"365" unit:"d" validate:"gt=0"`
	// Days after which a released lock is deleted.
	ReleasedMaxAge time.Duration `env:"APP_RELEASED_ACCOUNT_LOCK_MAX_DAYS" default:"30" unit:"d" validate:"gt=0"`
}

// Slacks say how long after the collection deadline of its turn a record of a transfer is kept.
type Slacks struct {
	// Days that a record of collecting is kept.
	Collecting time.Duration `env:"APP_WORKER_COLLECTING_SLACK_DAYS" default:"60" unit:"d" validate:"gt=0"`
	// Days that a record of sending, or of receiving, is kept.
	Sending time.Duration `env:"APP_WORKER_SENDING_SLACK_DAYS" default:"150" unit:"d" validate:"gt=0"`
	// Days that a record of dispatching is kept.
	Dispatching time.Duration `env:"APP_WORKER_DISPATCHING_SLACK_DAYS" default:"180" unit:"d" validate:"gt=0"`
}

// ShardVerification paces verify_shard_content.
type ShardVerification struct {
	// Rows in a portion.
	YieldPer int `env:"APP_VERIFY_SHARD_YIELD_PER" default:"10000" validate:"gte=1"`
	// Pause after each portion.
	Sleep time.Duration `env:"APP_VERIFY_SHARD_SLEEP_SECONDS" default:"0.005" unit:"s"`
}
