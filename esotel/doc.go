// Package esotel has OpenTelemetry traces of Publishers, Subscribers and clients of EventStore.
//
// A trace goes from a Publish call through the handler of the message to what that handler publishes. [Tracing] has a
// decorator for each side of a Watermill Router, and a hook for the client below it:
//
//	tracing, err := esotel.New(esotel.Config{Server: "localhost:1113"})
//	cfg, err := esclient.ParseConnectionString("tcp://admin:changeit@localhost:1113")
//	cfg.Hooks = append(cfg.Hooks, tracing.Hook())
//	client, err := esclient.New(cfg)
//	tracing.AddTo(router)
//
// Without a Router, use [Tracing.DecoratePublisher] and [Tracing.DecorateSubscriber]. The program sets up the
// TracerProvider and the propagators, as for every instrumentation of OpenTelemetry. docs/tracing.md shows it.
//
// # Spans
//
// They follow the semantic conventions 1.43 for messaging, in which messaging.system is eventstoredb, and those for
// databases for the operations of a client:
//
//	send TOPIC      PRODUCER  a Publish call
//	create TOPIC    PRODUCER  each message of several in a Publish call, whose send span is a CLIENT with links
//	receive TOPIC   CLIENT    a message that waits for the consumer, with Config.ReceiveSpans only
//	process TOPIC   CONSUMER  a message, from the time it is handed out to its ack or nack
//	COMMAND         CLIENT    one operation of the client, such as WriteEvents, with an event for each retry
//
// A process span is a child of the span that created the message, and has a link to it. Config.LinkConsumers leaves
// the link only. If there is a receive span, it takes that place, and the process span is its child. There are no
// settle spans: a process span ends with the answer.
//
// Span names have a bounded number of values; see Config.Template. The attribute messaging.destination.name is always
// the topic.
//
// # Attributes
//
// All spans of messages have messaging.system, messaging.operation.name, messaging.operation.type and
// messaging.destination.name, and those that apply of messaging.destination.template, messaging.message.id,
// messaging.message.conversation_id (the correlation id), messaging.batch.message_count,
// messaging.consumer.group.name, server.address, server.port and error.type.
// A process span has these as well:
//
//	messaging.eventstoredb.answer               ack, nack, or none if the subscription ended before one
//	messaging.eventstoredb.message.retry_count  earlier deliveries, if there were any
//	db.eventstoredb.stream                      of the event, and the next two, as the .NET client names them
//	db.eventstoredb.event.id
//	db.eventstoredb.event.type
//
// A failed send span has messaging.eventstoredb.messages.written, .unknown and .not_written, from the PublishError.
//
// The span of an operation has db.system.name, db.operation.name, db.collection.name (the stream), server.address,
// server.port, network.peer.address and network.peer.port (the node that was asked last), error.type,
// messaging.consumer.group.name if it is about a group, and db.eventstoredb.retries, .sent_bytes and .received_bytes.
//
// The attribute error.type is a class of esclient.ErrorClass, such as outcome_unknown, or the Go type of an error of
// the handler; nacked if the handler gave no error; and unanswered.
//
// # Propagation
//
// The propagator writes its fields, such as traceparent, to the metadata of a message. The span is also written as
// $traceId and $spanId, the keys of EventStore's .NET client for gRPC, unless Config.DisableTraceIDs is set. A
// consumer takes the propagator's fields, and $traceId and $spanId if there is none. Malformed values count as missing.
//
// A message that has a context of its own in its metadata, as one of an outbox, keeps it: the send span links to it.
// The context that a message was received with is not of this kind: a handler that passes a message on, or republishes
// it, goes on with its own trace.
package esotel
