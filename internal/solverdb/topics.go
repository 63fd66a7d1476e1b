package solverdb

// Topics of notifications on this database, see [postgres.Notify] and [postgres.Listener]. They only save waiting: a
// swpt_trade node does not notify, so whoever waits for one has to look by itself now and then, too.
const (
	// TopicTurns tells that a turn has been started, or has got to another phase. The solver notifies of it, workers
	// listen.
	TopicTurns = "turns"

	// TopicResults tells that a worker has deleted its share of the results of a turn. Workers notify of it, in the
	// transaction that deletes, and the solver listens.
	TopicResults = "results"
)
