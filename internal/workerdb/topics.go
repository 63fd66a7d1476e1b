package workerdb

// TopicSettlement is the topic of notifications after which a collector may be able to take its next step in a turn: its
// part in the turn has become known, or something that it has waited for has come, or will not come.
const TopicSettlement = "settlement"
