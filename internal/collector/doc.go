// Package collector gives currencies collectors: accounts of the node itself, through which everything that is traded
// passes. It follows sections 1.1 to 1.5 of the chapter about transfers.
//
// A collector is planned in the solver database, which all workers share, and lives in the database of the worker whose
// shard it belongs to:
//
//	NeededCollector ─▶ collector_task ─▶ [Follower] ─▶ [Ensure]: planned ─▶ [Opener] ─▶ ConfigureAccount
//	                                                                            requested      │
//	ActivateCollector ─▶ collector_task ─▶ [Follower] ─▶ active                                ▼
//	        ▲                                                                     accounting authority
//	        └────────── [Rules.HandleAccountUpdates] ◀── AccountUpdate ◀───────────────────────┘
//
// Handlers of messages must not wait for the solver database, so they leave tasks in the worker's own. All steps may be
// done again: each looks first at what is there.
package collector
