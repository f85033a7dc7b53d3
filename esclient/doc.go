// Package esclient is a client of EventStore's TCP protocol, for servers 4.1 to 23.10.
//
// A Client keeps one connection to a node, shares it among any number of goroutines, and replaces it when it is lost.
// What was lost with it is made good where that is safe: reads go on where they were, subscriptions resume without loss
// or duplicate, and writes are repeated with the same event ids where the server recognises them; where it would not,
// the error says that the outcome is unknown (ErrOutcomeUnknown). Every call takes a context and returns when it ends.
//
//	client, err := esclient.Open("tcp://admin:changeit@localhost:1113")
//	defer client.Close()
//	_, err = client.Append(ctx, "orders-1", esclient.NoStream, esclient.EventData{Type: "placed", Data: data})
//	for event, err := range client.ReadStream(ctx, "orders-1", esclient.ReadOptions{}) { … }
//
// # Writing
//
// Append writes events to a stream, all of them or none, if the stream is at the version that is expected of it;
// AppendConditional answers with a status where it is not. AppendFrom writes what a source yields, without end if need
// be, in order and nothing twice. What is too large for one append goes into a Transaction. DeleteStream and
// TombstoneStream delete a stream for now or for ever, and its StreamMetadata limits what it keeps and who may do what.
//
// An exact expected version, or NoStream, does more than to keep writers from overwriting each other: with it the
// server recognises events that it has for as long as it has them, so that a lost reply is always made good.
//
// # Reading
//
// ReadEvent reads one event of a stream. ReadStream and ReadAll, which reads the log of all streams, are iterators in
// either direction, with the next page on its way while one is consumed; ReadStreamPage and ReadAllPage read one page
// and tell where the next begins. A Filter has servers from 20.6 on pick the events of all streams. How a call is made
// is said by its context: WithCredentials, WithRequireLeader.
//
// # Subscriptions
//
// SubscribeVolatile delivers what is written from now on, SubscribeCatchUp also what was there before, from wherever
// the caller's checkpoint says. ConnectPersistent consumes from a group whose progress the server keeps: events are
// acked, or delivered again. All three are pulled from with Next or All, so that a slow consumer delays nobody else:
// what the server pushes meanwhile waits in a bounded buffer.
//
// # Groups and users
//
// [Client.CreatePersistent], [Client.UpdatePersistent] and [Client.DeletePersistent] change groups. [Client.ReadParked]
// reads their parked events. Package esadmin does what servers offer over HTTP alone: it describes groups and their
// subscribers, replays parked events, and manages users.
//
// # Hooks and logging
//
// Config.Hooks are told of connections, operations, retries and subscriptions, for metrics and traces: implement those
// interfaces of Hook that are of interest. Config.Logger is for people. Neither costs anything where nobody listens.
//
// # Errors
//
// Errors name the operation and wrap their cause. Use errors.Is with the conditions, such as [ErrStreamNotFound], and
// errors.As with the types that tell more:
//
//   - before anything is sent: [ConfigError], [ArgumentError]
//   - of the connection: [ConnectionError], [NotConnectedError], [NotAuthenticatedError], [FrameTooLargeError]
//   - of the server: [NotHandledError], [BadRequestError], [UnexpectedReplyError]
//   - of writes: [WrongExpectedVersionError], [OutcomeUnknownError]
//   - of subscriptions: [SubscriptionDroppedError], [SlowConsumerError], [LogWentBackError]
//
// [SafeToRetry] and [Timeout] sort them.
package esclient
