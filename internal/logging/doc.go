// Package logging writes what programs log, in the two forms that operators and their log collectors know:
//
//	2026-01-31 23:59:59+0000:WARNING:trade.fetch:cannot fetch iri=https://example.com attempt=3
//	{"asctime":"2026-01-31T23:59:59+0000","levelname":"WARNING","name":"trade.fetch","message":"cannot fetch",...}
//
// A record is one line in both of them, whatever its message and its attributes contain. Instants are in UTC. The name
// comes from the attribute [LoggerKey], usually given once, to a logger for a part of the program:
//
//	logger := slog.New(logging.NewHandler(os.Stdout, logging.Options{Level: slog.LevelInfo}))
//	fetchLogger := logger.With(slog.String(logging.LoggerKey, "trade.fetch"))
//
// The package only writes the first half of a line by itself; the attributes are written by the handlers of log/slog.
package logging
