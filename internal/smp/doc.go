// Package smp holds everything that the service says and hears: a Go type for each message of the Swaptacular Messaging
// Protocol, of the creditors agent's notifications, and of the workers' internal messages; their JSON form; and the
// small languages that travel inside of them: transfer notes, "swpt" URIs and sequence numbers. It follows the chapter
// messages.md of the specification, sections 2.4, 3, 4, 5.1, 7 and 8. The package does no I/O and has no clock.
//
// # A tour
//
// A consumer gives the properties and the body of a delivery to [Parse], which takes the decisions 0 to 4 of section
// 5.1 and returns a [Message] or the reason for rejecting it; [CheckCoordinator] completes step 4 once the caller knows
// whether the message belongs to its shard, which [Message.ShardKey] tells. A producer fills one of the types that are
// [Outgoing], asks [Outgoing.Envelope] how it travels, and [Message.AppendJSON] for its body.
//
// # The codec
//
// A message type is a plain struct, and its declaration is its schema: the order of the fields is the order of the
// output, the tag "json" gives a field's name on the wire, the tag "validate" its limits; a pointer is an optional
// field. From the declarations a table of setters and appenders is built once, when the program starts. To decode is
// to walk the body once, with a small strict scanner, and to set each field that is met; strings are cut from one copy
// of the body, so this takes two allocations, the copy and the message. Then the validator looks at those fields of the
// message that have limits. To encode is to walk the table.
//
// Why not a library: encoding/json matches names without regard to case, replaces lone surrogates silently, cannot tell
// null or a missing field from zero, which is a legitimate value, and takes twice to four times as long; its successor
// is still an experiment of the toolchain. Why a table and not generated code: it is much smaller, nothing can fall out
// of date, and its indirections cost a few nanoseconds a field, less than a tenth of what the validation costs.
package smp
