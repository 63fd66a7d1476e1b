package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/circular-trade/circular-trade/internal/postgres"
	"github.com/circular-trade/circular-trade/internal/solverdb"
	"github.com/circular-trade/circular-trade/internal/workerdb"
)

// stores are the databases of the service. They are dropped at the end.
type stores struct {
	server     postgres.URL
	names      []string
	solverURL  string
	workerURLs []string
	solver     *solverdb.DB
	workers    []*workerdb.DB
}

func newStores(ctx context.Context, serverURL string, shards int) (*stores, error) {
	url, err := postgres.ParseURL(serverURL)
	if err != nil {
		return nil, err
	}
	s := &stores{server: url}
	if err := s.create(ctx, serverURL, shards); err != nil {
		return nil, errors.Join(err, s.close(true))
	}
	return s, nil
}

// execute executes a statement that concerns the server as a whole.
func (s *stores) execute(ctx context.Context, statement string) error {
	conn, err := postgres.Connect(ctx, s.server)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func (s *stores) create(ctx context.Context, serverURL string, shards int) error {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // does not fail
	prefix := "trade_demo_" + hex.EncodeToString(random)
	newDatabase := func(name string) (text string, url postgres.URL, err error) {
		if err := s.execute(ctx, "CREATE DATABASE "+name); err != nil {
			return "", url, fmt.Errorf("making the database %s: %w", name, err)
		}
		s.names = append(s.names, name)
		if text, err = withDatabase(serverURL, name); err != nil {
			return "", url, err
		}
		url, err = postgres.ParseURL(text)
		return text, url, err
	}
	text, url, err := newDatabase(prefix + "_solver")
	if err != nil {
		return err
	}
	s.solverURL = text
	if s.solver, err = solverdb.Open(url, postgres.Options{MaxConns: 4}); err != nil {
		return err
	}
	for i := range shards {
		text, url, err := newDatabase(fmt.Sprintf("%s_worker_%d", prefix, i))
		if err != nil {
			return err
		}
		db, err := workerdb.Open(url, postgres.Options{MaxConns: 2})
		if err != nil {
			return err
		}
		s.workerURLs, s.workers = append(s.workerURLs, text), append(s.workers, db)
	}
	return nil
}

// close drops the databases, if that is wanted, whoever is still connected to them.
func (s *stores) close(drop bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.solver != nil {
		s.solver.Close()
	}
	for _, db := range s.workers {
		db.Close()
	}
	var errs []error
	for _, name := range s.names {
		if drop {
			errs = append(errs, s.execute(ctx, "DROP DATABASE "+name+" WITH (FORCE)"))
		}
	}
	return errors.Join(errs...)
}

// A progress is how far the service has got in knowing the market.
type progress struct {
	collectors, activeCollectors     int
	policies, claims, documents      int
	wantedPolicies, wantedCurrencies int
}

func (p progress) done() bool {
	return p.activeCollectors == p.collectors && p.policies >= p.wantedPolicies &&
		p.claims >= p.wantedCurrencies && p.documents >= p.wantedCurrencies
}

func (s *stores) progress(ctx context.Context) (p progress, err error) {
	const query = `SELECT count(*), count(*) FILTER (WHERE status = 2) FROM collector_account`
	if err := s.solver.Pool().QueryRow(ctx, query).Scan(&p.collectors, &p.activeCollectors); err != nil {
		return p, err
	}
	for _, db := range s.workers {
		var policies, claims, documents int
		const query = `
			SELECT
				(SELECT count(*) FROM trading_policy WHERE account_id <> ''),
				(SELECT count(*) FROM debtor_locator_claim WHERE debtor_info_locator IS NOT NULL),
				(SELECT count(*) FROM debtor_info_document)`
		if err := db.Pool().QueryRow(ctx, query).Scan(&policies, &claims, &documents); err != nil {
			return p, err
		}
		p.policies, p.claims, p.documents = p.policies+policies, p.claims+claims, p.documents+documents
	}
	return p, nil
}

// A turnState is how far a turn has got.
type turnState struct {
	phase                                              int
	locks, prepared                                    int // of accounts: all, and those that are prepared
	sells, buys                                        int
	toCollect, toSend, toReceive, toDispatch, attempts int
	unreleased                                         int // locks of the turn that have not come to their end
	failure                                            *string
	value                                              float64
}

// turnID returns the ID of the n-th turn, or 0 if it has not begun. IDs are not consecutive: PostgreSQL leaves some out
// after a crash.
func (s *stores) turnID(ctx context.Context, n int) (id int, err error) {
	const query = "SELECT coalesce((SELECT turn_id FROM turn ORDER BY turn_id OFFSET $1 LIMIT 1), 0)"
	err = s.solver.Pool().QueryRow(ctx, query, n-1).Scan(&id)
	return id, err
}

// turn looks at the n-th turn.
func (s *stores) turn(ctx context.Context, n int) (t turnState, err error) {
	id, err := s.turnID(ctx, n)
	if err != nil {
		return t, err
	}
	const query = `
		SELECT
			coalesce((SELECT phase FROM turn WHERE turn_id = $1), 0),
			(SELECT count(*) FROM sell_offer WHERE turn_id = $1), (SELECT count(*) FROM buy_offer WHERE turn_id = $1),
			coalesce((SELECT cleared_value FROM trade_turn_summary WHERE turn_id = $1), 0),
			(SELECT failure FROM trade_turn_summary WHERE turn_id = $1)`
	if err := s.solver.Pool().QueryRow(ctx, query, id).Scan(&t.phase, &t.sells, &t.buys, &t.value, &t.failure); err != nil {
		return t, err
	}
	for _, db := range s.workers {
		var locks, prepared, unreleased, collecting, sending, receiving, dispatching, attempts int
		const query = `
			SELECT
				(SELECT count(*) FROM account_lock WHERE turn_id = $1),
				(SELECT count(*) FROM account_lock WHERE turn_id = $1 AND transfer_id IS NOT NULL),
				(SELECT count(*) FROM account_lock WHERE released_at IS NULL),
				(SELECT count(*) FROM worker_collecting WHERE NOT collected),
				(SELECT count(*) FROM worker_sending),
				(SELECT count(*) FROM worker_receiving WHERE received_amount = 0),
				(SELECT count(*) FROM worker_dispatching),
				(SELECT count(*) FROM transfer_attempt) + (SELECT count(*) FROM dispatching_status)`
		err := db.Pool().QueryRow(ctx, query, id).Scan(&locks, &prepared, &unreleased, &collecting, &sending, &receiving,
			&dispatching, &attempts)
		if err != nil {
			return t, err
		}
		t.locks, t.prepared, t.unreleased = t.locks+locks, t.prepared+prepared, t.unreleased+unreleased
		t.toCollect, t.toSend, t.toReceive = t.toCollect+collecting, t.toSend+sending, t.toReceive+receiving
		t.toDispatch, t.attempts = t.toDispatch+dispatching, t.attempts+attempts
	}
	return t, nil
}

// done tells whether nothing of any turn is left to be done.
func (t *turnState) done() bool {
	return t.unreleased+t.toCollect+t.toSend+t.toReceive+t.toDispatch+t.attempts == 0
}
