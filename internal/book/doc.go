// Package book reads offer books and writes the outcomes of their clearing, as files of comma-separated values.
//
// A book is a directory with four files, each either NAME.csv or, compressed with gzip, NAME.csv.gz:
//
//	currencies   is_confirmed, debtor_info_locator, debtor_id,
//	             peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate
//	collectors   collector_id, debtor_id
//	sells        creditor_id, debtor_id, amount, collector_id
//	buys         creditor_id, debtor_id, amount
//
// The first line of each names the columns, in any order; columns that the list above does not have are ignored. IDs
// may be signed or unsigned decimals, or hexadecimals that begin with 0x. A currency without a peg has nothing in the
// last three columns. The first currency is the base currency, unless the caller says otherwise.
//
// [Open] finds the files and [Book.Load] reads them into a market, which it does as fast as two processors can, and
// without keeping anything but the market. A book is made by people and programs, so everything that is wrong in it is
// reported with file, line and column, many problems at a time ([ProblemsError]). [Unpack] gets a book out of a tar
// archive. [Synthetic] makes books of any size up.
//
// The outcome ([WriteOutcome]) consists of
//
//	takings              creditor_id, debtor_id, amount, collector_id
//	givings              creditor_id, debtor_id, amount, collector_id
//	collector_transfers  debtor_id, from_collector_id, to_collector_id, amount
//	circular_trades      ring, value, step, creditor_id, gives_debtor_id, amount (only if asked for)
//
// with IDs in signed decimal. A [Staging] sees to it that the files of an outcome appear together or not at all.
package book
