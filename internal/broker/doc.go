// Package broker connects the service to RabbitMQ: it declares exchanges and queues, publishes messages, and consumes
// them. It knows nothing of what the messages say.
//
// # A tour
//
// [Topology] declares what the service needs on its brokers, and removes it again when a shard is given up.
//
// A [Publisher] publishes batches, thousands of messages at full speed, and tells of each message what has become of it:
// [Publisher.PublishAll]. Only when the outcome is [Confirmed] may the message be forgotten.
//
// A [Consumer] takes messages from a queue, in several lanes at a time. In each lane, it gives single messages to
// [Handler.Check] and batches of them to [Handler.Handle], and acknowledges what has been handled:
//
//	deliveries ─▶ Check ─▶ batch ─▶ Handle ─▶ acknowledge
//	                │ rejected         │ failed
//	                ▼                  ▼
//	        dead-letter queue     one by one ─▶ set aside, again later
//
// A failing message stays unacknowledged, and keeps a place of the prefetch window occupied. While there is a free one,
// others pass. When there is none, the consumer ends with [ErrFailing], and the messages are back in the queue. The
// broker's consumer timeout, 30 minutes by default, has the same effect on a message that keeps failing, but the consumer
// goes on.
//
// # What can go wrong
//
// Every message is delivered at least once. A message may be published twice, because a confirmation can get lost along
// with the connection; and it may be handled twice, because an acknowledgement can.
//
// Errors that wrap [ErrUnreachable] go away by themselves. The consumer, and [Publisher.Connect], wait for that. All other
// errors of brokers are answers. The caller decides about them; to try again in a moment does no harm.
//
// Nothing waits for a broker without a limit: if it stops reading, or answers no more, the connection is cut under the
// library's feet.
package broker
