// Package server runs the components of a process, whatever it is that they do: it starts them, watches over them, and
// ends them when the process is asked to end.
//
//	worker := server.Server{
//		Name:          "worker",
//		Components:    slices.Concat(server.Copies(3, flusher), []server.Component{fetcher, roller}),
//		Supervise:     true,
//		Checks:        []server.Check{{Name: "worker database", Answers: db.Ping}},
//		StatusAddress: ":9090",
//		Registry:      registry,
//		Logger:        logger,
//	}
//	err := worker.Run(ctx)
//
// # Failures
//
// There are two kinds of processes. A supervised one (the solver, the worker, the web server) has to survive that a
// database or a broker is away: whatever fails is restarted, and nothing else notices. Otherwise, a process is one
// component on its own, which somebody else restarts: it ends when that fails. A panic is a failure, too, and so is a
// component that ends without having been asked to, unless it is marked with [Component.EndsByItself].
//
// What a restart cannot mend, because somebody has to change something first, is marked with [Fatal]. It ends every
// process.
//
// # One process at a time
//
// A [Server.Guard] stands around all components, and decides when they may run. It usually holds a lock that keeps
// other processes off, and stops the components when the lock is lost. While they wait for it, the process is alive,
// but not ready.
//
// # Stopping
//
// SIGTERM, SIGINT, and SIGHUP cancel the context of all components, which then have [StopTimeout] to finish what they
// are at. A second signal ends the process at once. A process that has stopped as it was asked to has not failed.
//
// # What others see
//
// At [Server.StatusAddress], for as long as the process runs, are
//
//	/healthz   200 while the process is alive
//	/readyz    200 when all components run and their servers answer; otherwise 503, and a line for each culprit
//	/metrics   everything in the registry, in Prometheus' text format
package server
