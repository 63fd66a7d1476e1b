// Package world is everybody that the service has to do with, simulated: accounting authorities, a creditors agent with
// its customers, the gateways between them and the broker, and the issuers of currencies with their website. It follows
// the chapter peers.md of the specification, and speaks with the service only through RabbitMQ and HTTPS, as the real
// ones do.
//
// # A tour
//
// A [Scenario] says what there is when a world begins: currencies with their pegs, and customers with tokens and
// wishes. [Town] is a small town, [FromBook] and [FromSynthetic] make scenarios of offer books. A [Profile] says how
// the world behaves: [Calm], [Noisy], or [Storm].
//
//	w, err := world.New(ctx, world.Settings{BrokerURL: url, Scenario: world.Town(), Profile: world.Calm(), Log: log})
//	locator, debtor := w.Base()      // for the service's settings
//	pem := w.CertificatePEM()        // likewise: whom to trust when fetching documents
//	err = w.Start(ctx)               // as soon as there is a broker, the creditors agent talks to the service
//	…                                // a turn, or several
//	err = w.Settle(ctx, silence)     // faults end, and all that is due is delivered
//	report := w.Report()             // where every token is, and whether all has been right
//	story := w.Story(customer)       // what has happened to somebody
//	err = w.Stop()
//
// What parties do is in packages of their own, which are pure: authority, agent, and the network in this package, all
// of them on one timeline. They write a journal, from which a checker computes whether the world was right and whether
// money was safe with the service (package journal). This package connects them with clocks, brokers and ports:
//
//	broker ─▶ queues ─▶ ear: decode ─▶ link: delay, repeat, lose ─▶ authority ─▶ renumber ─▶ link ─▶ outbox ─▶ broker
//	                                                          └──────── journal ─▶ checker ─▶ Report
//
// # Chance
//
// [Settings].Seed decides everything that is left to chance. The same seed, with messages at the same instants, gives
// the same run; on a real broker messages come at other instants each time, but the faults are of the same kind.
//
// # What it is not
//
// The state of a world is in memory, and is lost with the process. That a peer has crashed looks to the service like
// messages that are repeated and late, and those are simulated. A world needs queues in which no earlier world has left
// anything.
package world
