// Package demo shows the service at work, on real servers, in a simulated world: it makes databases and queues, runs the
// solver and workers as processes of their own, waits until they know the market, watches trading turns until the last
// token has arrived, and asks the world whether all has been as it should be.
package demo
