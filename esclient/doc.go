// Package esclient is a client of EventStore's TCP protocol, for servers 4.1 to 23.10.
//
// A [Client] keeps one connection to a node, shares it among any number of goroutines, and replaces it when it is lost.
// Then reads go on from the same place, and subscriptions resume without loss or duplicate. The client repeats a write,
// with the same event ids, if the server recognises the repetition. Otherwise the error says that the outcome is
// unknown ([ErrOutcomeUnknown]). Every call takes a context and returns when it ends.
//
//	client, err := esclient.Open("tcp://admin:changeit@localhost:1113")
//	defer client.Close()
//	_, err = client.Append(ctx, "orders-1", esclient.NoStream, esclient.EventData{Type: "placed", Data: data})
//	for event, err := range client.ReadStream(ctx, "orders-1", esclient.ReadOptions{}) { … }
//
// # Writing
//
// [Client.Append] writes events to a stream, all of them or none, if the stream is at the expected version.
// [Client.AppendConditional] returns a status if it is not. [Client.AppendFrom] writes the events of a source, which
// may have no end, in order and none of them twice. A [Transaction] takes more events than one append.
// [Client.DeleteStream] and [Client.TombstoneStream] delete a stream for now or for ever. [StreamMetadata] limit the
// events that a stream keeps, and the rights to it.
//
// An exact expected version, or [NoStream], keeps writers from overwriting each other. It also makes the server
// recognise the events as long as it has them, so that the client can always repeat an append whose reply was lost.
//
// # Reading
//
// [Client.ReadEvent] reads one event of a stream. [Client.ReadStream] and [Client.ReadAll], which reads the log of all
// streams, are iterators in either direction. They ask for the next page while the caller consumes the page at hand.
// [Client.ReadStreamPage] and [Client.ReadAllPage] read one page and tell where the next one begins. A [Filter] makes
// servers from 20.6 on pick the events of all streams. The context of a call may have credentials and say which node
// answers: [WithCredentials], [WithRequireLeader].
//
// # Subscriptions
//
// [Client.SubscribeVolatile] delivers the events that are written from now on. [Client.SubscribeCatchUp] begins
// anywhere, such as at the caller's checkpoint. [Client.ConnectPersistent] consumes from a group whose progress the
// server keeps: the consumer acks events, or the server delivers them again. The consumer of each of the three calls
// Next or All. A slow consumer delays no other one: pushed events wait in a bounded buffer.
//
// # Groups and users
//
// [Client.CreatePersistent], [Client.UpdatePersistent] and [Client.DeletePersistent] change groups. [Client.ReadParked]
// reads their parked events. Package esadmin has the requests that servers take over HTTP only: it describes groups
// and their subscribers, replays parked events, and manages users.
//
// # Hooks and logging
//
// The client calls [Config].Hooks for connections, operations, retries and subscriptions. Use them for metrics and
// traces. See [Hook] for the interfaces. [Config].Logger is for people. Neither costs anything if it is not used.
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
