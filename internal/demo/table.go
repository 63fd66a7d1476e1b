package demo

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
)

// A turnRow is what is told of a turn.
type turnRow struct {
	id                         int
	failure                    *string
	traded, priced             int // currencies
	offers                     int
	served, traders            int
	value                      float64 // in tokens of the base currency
	transfers                  int     // from sellers, among collectors, and to buyers
	phase1, phase2, phase3     time.Duration
	reading, clearing, writing time.Duration // at the end of phase 2
	moving                     *time.Duration
}

// turnTable returns what is to be told of all turns.
func (s *stores) turnTable(ctx context.Context) ([]turnRow, error) {
	const query = `
		SELECT t.turn_id, failure, traded_currencies, tradable_currencies, sell_offers + buy_offers, served_traders, traders,
			cleared_value, takings + givings + transfers,
			extract(EPOCH FROM second.at - first.at)::FLOAT8, extract(EPOCH FROM third.at - second.at)::FLOAT8,
			extract(EPOCH FROM fourth.at - third.at)::FLOAT8, read_seconds, clear_seconds, write_seconds, third.at
		FROM trade_turn_summary t
		JOIN demo_phase first ON first.turn_id = t.turn_id AND first.phase = 1
		JOIN demo_phase second ON second.turn_id = t.turn_id AND second.phase = 2
		JOIN demo_phase third ON third.turn_id = t.turn_id AND third.phase = 3
		JOIN demo_phase fourth ON fourth.turn_id = t.turn_id AND fourth.phase = 4
		ORDER BY t.turn_id`
	rows, err := s.solver.Pool().Query(ctx, query)
	if err != nil {
		return nil, err
	}
	cleared := make(map[int]time.Time)
	table, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (turnRow, error) {
		var t turnRow
		var spans [6]float64
		var at time.Time
		err := row.Scan(&t.id, &t.failure, &t.traded, &t.priced, &t.offers, &t.served, &t.traders, &t.value, &t.transfers,
			&spans[0], &spans[1], &spans[2], &spans[3], &spans[4], &spans[5], &at)
		for i, d := range []*time.Duration{&t.phase1, &t.phase2, &t.phase3, &t.reading, &t.clearing, &t.writing} {
			*d = time.Duration(spans[i] * float64(time.Second))
		}
		cleared[t.id] = at
		return t, err
	})
	if err != nil {
		return nil, err
	}
	moved, err := s.moved(ctx)
	for i := range table {
		t := &table[i]
		if last, found := moved[t.id]; found && last.After(cleared[t.id]) {
			d := last.Sub(cleared[t.id])
			t.moving = &d
		}
	}
	return table, err
}

// moved returns when the last account of each turn has been released, which is when its tokens have arrived.
func (s *stores) moved(ctx context.Context) (map[int]time.Time, error) {
	last := make(map[int]time.Time)
	for _, db := range s.workers {
		rows, err := db.Pool().Query(ctx, "SELECT turn_id, max(released_at) FROM demo_release GROUP BY turn_id")
		if err != nil {
			return nil, err
		}
		var turn int
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&turn, &at}, func() error {
			if at.After(last[turn]) {
				last[turn] = at
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return last, nil
}

// writeTable writes what is to be told of turns.
func writeTable(out io.Writer, table []turnRow) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "turn\tcurrencies\toffers\ttraders\tvalue\ttransfers\tphase 1\tphase 2\tread\tclear\twrite\tphase 3\ttokens moved")
	for i := range table {
		t := &table[i]
		moved := "-"
		if t.moving != nil {
			moved = inSeconds(*t.moving)
		}
		_, _ = fmt.Fprintf(w, "%d\t%d of %d\t%s\t%d of %d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			t.id, t.traded, t.priced, number(t.offers), t.served, t.traders, humanize.Commaf(float64(int64(t.value))),
			number(t.transfers), inSeconds(t.phase1), inSeconds(t.phase2), inSeconds(t.reading), inSeconds(t.clearing),
			inSeconds(t.writing), inSeconds(t.phase3), moved)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i := range table {
		if t := &table[i]; t.failure != nil {
			_, _ = fmt.Fprintf(out, "Turn %d had to go on without results: %s\n", t.id, *t.failure)
		}
	}
	return nil
}

func inSeconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
