package book

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/circular-trade/circular-trade/internal/solver"
	"github.com/circular-trade/circular-trade/internal/swpt"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	want := &recorder{
		collectors: []collectorRow{{701, 60}, {702, 61}},
		sells:      []solver.SellOffer{sell(1, 60, 9000, 801), sell(2, 61, 3000, 802)},
		buys:       []solver.BuyOffer{buy(1, 61, 4000), buy(2, 60, 6000)},
	}
	zipped := aBook{}
	for name, content := range swap() {
		zipped[name+".gz"] = content
	}
	windows := aBook{}
	for name, content := range swap() {
		windows[name] = byteOrderMark + strings.ReplaceAll(content, "\n", "\r\n")
	}
	for name, b := range map[string]aBook{
		"plain":                swap(),
		"gzip":                 zipped,
		"byte order mark CRLF": windows,
		"other order":          swap().with("sells.csv", "amount,debtor_id,collector_id,creditor_id\n9000,60,801,1\n3000,61,802,2\n"),
		"more columns":         swap().with("buys.csv", "when,creditor_id,debtor_id,x,amount\n?,1,61,\"a,b\",4000\n,2,60,,6000\n"),
		"no end of line":       swap().with("buys.csv", buyHeader+"1,61,4000\n2,60,6000"),
		"empty lines":          swap().with("buys.csv", "\n"+buyHeader+"\n1,61,4000\n\n\n2,60,6000\n\n"),
		"hexadecimal, quotes":  swap().with("buys.csv", buyHeader+"0x1,0X3d,4000\n\"2\",60,\"6000\"\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, loaded, err := record(t, b.open(t))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if p := loaded.Prices.Params(); p != (solver.Params{
				BaseLocator: "L60", BaseDebtorID: 60, MaxDistanceToBase: 10, MinTradeAmount: 1000,
			}) {
				t.Errorf("parameters %v", p)
			}
			if price := loaded.Prices.Price(61); price != 2.5 {
				t.Errorf("price %v", price)
			}
			if loaded.Currencies != 2 || loaded.Collectors != 2 || loaded.Sells.Rows() != 2 || loaded.Buys.Rows() != 2 {
				t.Errorf("rows: %+v", loaded)
			}
			if loaded.Warnings != nil {
				t.Errorf("warnings: %v", loaded.Warnings)
			}
		})
	}
}

func TestLoadCurrencies(t *testing.T) {
	t.Parallel()
	b := swap().with("currencies.csv", currencyHeader+
		"TRUE,L60,60,,,\n"+
		"1,L61,61,L60,60,NaN\n"+
		"t,L62,62,L60,60,+Inf\n"+
		"False,L63,63,L60,60,-1e-3\n"+
		"0,\"L\"\"64\",-64,L60,60,0x1p-2\n"+
		"f,L65,0xffffffffffffffbf,L60,60,1e-999\n"+
		"true,L60,0,,,\n")
	_, loaded, err := record(t, b.open(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for c := range loaded.Prices.Currencies() {
		got = append(got, fmt.Sprintf("%t %s %d %g", c.Confirmed, c.Locator, c.DebtorID, c.Price))
	}
	want := []string{
		"true L60 60 1", "true L61 61 NaN", "true L62 62 +Inf", "false L63 63 -0.001", `false L"64 -64 0.25`,
		"false L65 -65 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if loaded.Currencies != 7 {
		t.Errorf("got %d rows", loaded.Currencies)
	}
}

func TestLoadOtherBase(t *testing.T) {
	t.Parallel()
	opts := defaults()
	opts.Base = &Base{Locator: "L61", DebtorID: 61}
	b := swap().with("currencies.csv", currencyHeader+"true,L60,0,,,\ntrue,L61,61,,,\n")
	loaded, err := b.open(t).Load(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if p := loaded.Prices.Params(); p.BaseLocator != "L61" || p.BaseDebtorID != 61 {
		t.Errorf("parameters %v", p)
	}
}

func TestLoadEmpty(t *testing.T) {
	t.Parallel()
	loaded, err := emptyBook().open(t).Load(t.Context(), defaults())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Currencies != 0 || loaded.Sells.Rows() != 0 || loaded.Market == nil {
		t.Errorf("loaded %+v", loaded)
	}
}

func TestLoadWarnings(t *testing.T) {
	t.Parallel()
	b := swap().
		with("currencies.csv", currencyHeader+"true,L60,60,L1,,\ntrue,L61,61,L60,60,2.5\ntrue,L62,62,,60,2.5\n").
		with("collectors.csv", collectorHeader+"701,60\n0,60\n").
		with("sells.csv", sellHeader+"1,60,0,801\n2,61,3000,0\n0,61,3000,0\n3,61,-1,801\n"+strings.Repeat("7,60,-7,801\n", 4)+
			"8,60,999,801\n8,99,5000,801\n9,60,1000,801\n").
		with("buys.csv", buyHeader+"0x0,61,4000\n2,60,6000\n")
	loaded, err := b.open(t).Load(t.Context(), defaults())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range loaded.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		"currencies.csv: the peg is incomplete, the currency is treated as if it had none: 2 rows, lines 2, 4",
		"collectors.csv: skipped, because the collector ID is 0: 1 row, line 3",
		"sells.csv: skipped, because the amount is not positive: 6 rows, lines 2, 5, 6, 7, 8, ...",
		"sells.csv: skipped, because the creditor ID is 0: 1 row, line 4",
		"sells.csv: skipped, because the collector ID is 0: 1 row, line 3",
		"buys.csv: skipped, because the creditor ID is 0: 1 row, line 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	wantSells := Tally{
		solver.Admitted: 1, solver.NotClearable: 1, solver.BelowMinimum: 1,
		solver.InvalidAmount: 6, solver.NoCreditor: 1, solver.NoCollector: 1,
	}
	if loaded.Sells != wantSells {
		t.Errorf("got sells %v, want %v", loaded.Sells, wantSells)
	}
	if loaded.Sells.Rows() != 11 {
		t.Errorf("got %d sells", loaded.Sells.Rows())
	}
	if want := (Tally{solver.Admitted: 1, solver.NoCreditor: 1}); loaded.Buys != want {
		t.Errorf("got buys %v, want %v", loaded.Buys, want)
	}
}

func TestLoadProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, content, want string }{
		{
			"creditor", "sells.csv", sellHeader + "1,60,9000,801\nx1,60,9000,801\n",
			`sells.csv, line 3, column 1 (creditor_id): "x1" is not an ID: ` +
				"it must be a decimal or 0x-hexadecimal number of 64 bits",
		},
		{
			"debtor", "buys.csv", buyHeader + "1,18446744073709551616,9000\n",
			`buys.csv, line 2, column 2 (debtor_id): "18446744073709551616" is not an ID: ` +
				"it must be a decimal or 0x-hexadecimal number of 64 bits",
		},
		{
			"amount", "buys.csv", "amount,debtor_id,creditor_id\n9223372036854775808,1,1\n",
			`buys.csv, line 2, column 1 (amount): "9223372036854775808" is not an amount: ` +
				"it must be a decimal whole number of 64 bits",
		},
		{
			"no amount", "buys.csv", buyHeader + "1,60,\n",
			`buys.csv, line 2, column 3 (amount): "" is not an amount: it must be a decimal whole number of 64 bits`,
		},
		{
			"collector", "collectors.csv", collectorHeader + "0x,60\n",
			`collectors.csv, line 2, column 1 (collector_id): "0x" is not an ID: ` +
				"it must be a decimal or 0x-hexadecimal number of 64 bits",
		},
		{
			"truth", "currencies.csv", currencyHeader + "yes,L60,60,,,\n",
			`currencies.csv, line 2, column 1 (is_confirmed): "yes" is neither true nor false`,
		},
		{
			"rate out of range", "currencies.csv", currencyHeader + "true,L60,60,L61,61,1e999\n",
			`currencies.csv, line 2, column 6 (peg_exchange_rate): "1e999" is too large for a 64-bit floating-point number`,
		},
		{
			"rate without a peg", "currencies.csv", currencyHeader + "true,L60,60,,,\"2,5\"\n",
			`currencies.csv, line 2, column 6 (peg_exchange_rate): "2,5" is not a number`,
		},
		{
			"base", "currencies.csv", currencyHeader + "true,L60,0,,,\n",
			"currencies.csv, line 2, column 3 (debtor_id): the first currency is the base currency, its ID must not be 0",
		},
		{
			"locator twice", "currencies.csv", currencyHeader + "true,L60,60,,,\ntrue,L61,61,,,\nfalse,L60,62,,,\n",
			`currencies.csv, line 4, column 2 (debtor_info_locator): "L60" is registered already, in line 2`,
		},
		{
			"too few cells", "sells.csv", sellHeader + "1\n",
			"sells.csv, line 2: the row has 1 cell, the header has 4",
		},
		{
			"too many cells", "sells.csv", sellHeader + "1,60,9000,801,\n",
			"sells.csv, line 2: the row has 5 cells, the header has 4",
		},
		{
			"a quote too much", "sells.csv", sellHeader + "1,60,90\"00,801\n",
			"sells.csv, line 2: the row is not well-formed at byte 8 of line 2: bare \" in non-quoted-field",
		},
		{
			"a quote too few", "sells.csv", sellHeader + "1,60,9000,\"801\n2,60,1000,801\n",
			"sells.csv, line 2: the row is not well-formed at byte 15 of line 3: extraneous or missing \" in quoted-field",
		},
		{
			"empty file", "sells.csv", "",
			`sells.csv, line 1: the file is empty, it should begin with the line "creditor_id,debtor_id,amount,collector_id"`,
		},
		{
			"missing column", "sells.csv", "creditor_id,debtor_id,Amount,collector_id\n1,60,x,801\n",
			`sells.csv, line 1: there is no column "amount", the header is "creditor_id,debtor_id,Amount,collector_id"`,
		},
		{
			"column twice", "sells.csv", "\n\namount,creditor_id,debtor_id,amount,collector_id\n1,1,60,x,801\n",
			`sells.csv, line 3: there are several columns "amount"`,
		},
		{
			"long text", "buys.csv", buyHeader + "1,60," + strings.Repeat("9", 200) + "\n",
			`buys.csv, line 2, column 3 (amount): "` + strings.Repeat("9", 120) +
				`"... is not an amount: it must be a decimal whole number of 64 bits`,
		},
		{
			"zipped", "buys.csv.gz", buyHeader + "1,60,1.5\n",
			`buys.csv.gz, line 2, column 3 (amount): "1.5" is not an amount: it must be a decimal whole number of 64 bits`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := swap()
			delete(b, strings.TrimSuffix(c.file, ".gz"))
			_, err := b.with(c.file, c.content).open(t).Load(t.Context(), defaults())
			mustFail(t, err, "there is a problem, please repair it:\n  "+c.want)
		})
	}
}

func TestLoadManyProblems(t *testing.T) {
	t.Parallel()
	b := swap().
		with("currencies.csv", currencyHeader+"?,L60,?,,,\n").
		with("collectors.csv", "x,y\n").
		with("sells.csv", sellHeader+strings.Repeat("1,60,?,801\n", 30)).
		with("buys.csv", buyHeader+"1,60\n")
	_, err := b.open(t).Load(t.Context(), defaults())
	var problems *ProblemsError
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	if problems.Total != 2+2+30+1 || len(problems.Problems) != 20 {
		t.Errorf("%d problems, %d listed", problems.Total, len(problems.Problems))
	}
	lines := strings.Split(err.Error(), "\n")
	for i, beginning := range map[int]string{
		0:  "there are 35 problems, please repair them:",
		1:  "  currencies.csv, line 2, column 1 (is_confirmed): ",
		2:  "  currencies.csv, line 2, column 3 (debtor_id): ",
		3:  `  collectors.csv, line 1: there is no column "collector_id"`,
		4:  `  collectors.csv, line 1: there is no column "debtor_id"`,
		5:  "  sells.csv, line 2, column 3 (amount): ",
		20: "  sells.csv, line 17, column 3 (amount): ",
		21: "  ... and 15 more",
	} {
		if !strings.HasPrefix(lines[i], beginning) {
			t.Errorf("line %d is %q, should begin with %q", i, lines[i], beginning)
		}
	}
}

func TestLoadBadCurrencySet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, currencies string
		want             error
	}{
		{"claimed base", "false,L40,40,,,\ntrue,L5,40,L40,40,1\n", solver.ErrBaseClaimed},
		{"duplicate", "true,L40,40,,,\ntrue,L5,5,L40,40,1\ntrue,L6,5,L40,40,3\n", solver.ErrDuplicateDebtor},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := swap().with("currencies.csv", currencyHeader+c.currencies).open(t).Load(t.Context(), defaults())
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("inconsistent", func(t *testing.T) {
		t.Parallel()
		opts := defaults()
		opts.Base = &Base{Locator: "L60", DebtorID: 99}
		if _, err := swap().open(t).Load(t.Context(), opts); !errors.Is(err, solver.ErrInconsistentBase) {
			t.Error(err)
		}
	})
	t.Run("parameters", func(t *testing.T) {
		t.Parallel()
		if _, err := swap().open(t).Load(t.Context(), LoadOptions{}); !errors.Is(err, solver.ErrInvalidParams) {
			t.Error(err)
		}
		if err := (LoadOptions{}).Validate(); !errors.Is(err, solver.ErrInvalidParams) {
			t.Error(err)
		}
		if err := defaults().Validate(); err != nil {
			t.Error(err)
		}
	})
}

func TestLoadBrokenFiles(t *testing.T) {
	t.Parallel()
	whole := zip(t, buyHeader+strings.Repeat("1,60,1234\n", 50_000))
	for _, c := range []struct{ name, content, want string }{
		{"truncated", whole[:len(whole)/2], "reading buys.csv.gz: unexpected EOF"},
		{"not gzip", buyHeader, "reading buys.csv.gz, which should be compressed with gzip: gzip: invalid header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := swap()
			delete(b, "buys.csv")
			dir := t.TempDir()
			b.writeTo(t, dir)
			if err := os.WriteFile(dir+"/buys.csv.gz", []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = found.Load(t.Context(), defaults())
			mustFail(t, err, c.want)
		})
	}
}

func TestLoadStops(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	opts := defaults()
	opts.Progress = func(read, size int64) {
		if read <= 0 || read > size {
			t.Errorf("%d of %d bytes", read, size)
		}
		cancel(cause)
	}
	b := swap().with("buys.csv", buyHeader+strings.Repeat("1,60,1234\n", 100_000))
	if _, err := b.open(t).Load(ctx, opts); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

// A market that refuses an offer ends the reading of all files.
func TestLoadRefused(t *testing.T) {
	t.Parallel()
	b := swap().with("buys.csv", buyHeader+strings.Repeat("1,60,1234\n", 100_000)).open(t)
	var r recorder
	l := &loader{book: b, opts: defaults()}
	err := l.load(t.Context(), func(*solver.Prices) sink {
		to := r.sink()
		to.addSell = func(o solver.SellOffer) (solver.Verdict, error) {
			if o.Creditor == 2 {
				return 0, solver.ErrTooLarge
			}
			return solver.Admitted, nil
		}
		return to
	})
	mustFail(t, err, "adding the offer of sells.csv, line 3: "+solver.ErrTooLarge.Error())
	err = l.load(t.Context(), func(*solver.Prices) sink {
		to := r.sink()
		to.addCollector = func(swpt.DebtorID, swpt.CreditorID) error { return solver.ErrCleared }
		return to
	})
	mustFail(t, err, "registering the collector of collectors.csv, line 2: "+solver.ErrCleared.Error())
}
