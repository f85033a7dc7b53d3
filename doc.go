// Package eventstore is a Watermill Pub/Sub for EventStore (EventStoreDB) over its TCP protocol, for servers 4.1 to
// 23.10.
//
// A topic is a stream. A message is an event: [Publisher.Publish] appends events, and a [Subscriber] reads them in one
// of three modes.
//
//	                     each message goes to         a new subscriber gets       acks
//	consumer group       one subscriber of the group  the group's next messages   stored by the server
//	fan-out (volatile)   every subscription           messages from now on        hand out the next message
//	catch-up             every subscription           all from a start position   hand out the next message
//
// Each mode hands out one message at a time, and the next one after its ack, in the order of the stream. With
// [SubscriberConfig.Concurrency], only messages of one key keep their order. The subscription redelivers a nacked
// message after a delay, which grows with each nack. Delivery is at least once.
//
//	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{
//		ConnectionString: "tcp://admin:changeit@localhost:1113",
//	}, logger)
//	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
//		ConnectionString: "tcp://admin:changeit@localhost:1113",
//		ConsumerGroup:    "invoices",
//	}, logger)
//
// # Topics and streams
//
// [PublisherConfig.StreamName] spreads a topic over streams, for example one for each aggregate.
// [SubscriberConfig.StreamName] and [SubscriberConfig.ResolveLinks] read them together, by the server's projections:
// "$ce-order" has the events of all streams whose names begin with "order-". A link whose target was deleted or
// truncated is skipped; see [SubscriberConfig.UnresolvedAction].
//
// In catch-up mode and fan-out, the topic "$all" has all events of the server. [SubscriberConfig.Filter] picks those
// that are handed out. A filter with the prefix "order-" reads the same category without projections.
//
//	topic            messages of                what it needs             order                   checkpoint
//	a stream         one stream                 right to read it          of the stream           event number
//	$ce-<category>   streams named category-…   the projection            of the log (1)          number of the link
//	                                            $by_category (2)
//	$et-<type>       one event type             $by_event_type (2)        of the log (1)          number of the link
//	$bc-<id>         one $correlationId         $by_correlation_id (2),   of the log (1)          number of the link
//	                                            server 5.0 or newer
//	$all             the whole server           right to read $all (3)    of the log              log position
//	$all, Filter     streams or types that      right to read $all (3)    of the log              log position (4)
//	                 match
//
// A message of a stream or of $all arrives as soon as it is written. Links come later: by milliseconds while the
// projection keeps up, and not at all while it is stopped or has failed. Consumer groups take all topics but $all.
//
// (1) The projection reads the log and writes one link after the other. A checkpoint is lost if the stream of links is
// written anew, for example after a reset of the projection.
//
// (2) Projections run with --run-projections=System or All, and --start-standard-projections or by hand. All users may
// read the links. Up to server 5.0, a link that is read back, and whose target the user may not read, leads to no
// event; see [SubscriberConfig.UnresolvedAction]. Otherwise servers do not look at the rights on targets.
//
// (3) By default only administrators have it. It is set in $settings, or in the metadata of $all.
//
// (4) It moves on over events that the Filter does not pick. It stays valid when the Filter changes, but events
// before it that only the new Filter picks are not handed out.
//
// [SubscriberConfig.OnCaughtUp] and [LiveFromCtx] tell when a read model has all old messages, and which messages are
// new.
//
// # Read models
//
// With [SubscriberConfig.Checkpoints], a catch-up subscription saves how far it is, and the next one goes on from
// there:
//
//	store, err := eventstore.NewStreamCheckpoints(client, "")
//	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
//		Client: client, Mode: eventstore.ModeCatchUp, SubscriberName: "invoices", Checkpoints: store,
//	}, logger)
//	messages, err := subscriber.Subscribe(ctx, "orders")
//
// It saves the place up to which all messages are settled, so no message is lost. After a crash, messages that were
// settled after the latest save are handed out again. [StreamCheckpoints] keeps checkpoints on the server,
// [FileCheckpoints] in files, and module essql in a SQL database, in the handler's own transaction if that is wanted.
//
// # Slow and failing handlers
//
// A pushed message of a group belongs to its connection, however long its handler takes: groups with
// [DefaultGroupSettings] have no timeout, and no number of retries after which the server parks a message. If a
// consumer dies, its connection ends, and the server delivers its messages to other subscribers at once.
//
// Other groups have a MessageTimeout, which runs from the push on, and park a message after MaxRetryCount. In such a
// group a Subscriber takes only as many messages ahead as its handlers can handle in time. It gives a message that has
// waited too long back to the server, in a way that never parks it. A message in a handler is acked when the handler
// acks, however late, although the server may have redelivered it to another subscriber. The logger gets an error once
// if handlers are slower than the group allows, and a line at each Subscribe if the group has other settings than
// requested; see [SubscriberConfig.GroupPolicy].
//
// # Routers and shutdown
//
// A subscription ends with its context, by [Subscriber.Close] or with a Router. A handler that is running then can
// still answer by Ack or [NackWith] for [SubscriberConfig.AckGrace]. The default, 30 s, is the time that a Router waits
// for its handlers. The subscription hands out no more messages, and gives all that are in no handler back at once.
//
// A Router closes the Publisher of a handler that has stopped: give each handler a Publisher of its own. Publishers can
// share a Client.
//
// # Lost connections
//
// A lost connection is replaced, with backoff and without a limit. [Publisher.Publish] waits for a connection until the
// message's context or [PublisherConfig.PublishTimeout] ends. If the connection is lost before the reply, Publish
// repeats the append if the server is sure to recognise the events. Otherwise the outcome is unknown
// ([esclient.ErrOutcomeUnknown], [PublishError.Unknown]), and [PublisherConfig.RepublishUnknown] decides. Subscriptions
// resume: a group's subscription sends the acks that were made while the connection was lost and does not hand out
// those messages again. A volatile subscription reads back the messages that it missed.
//
// The server stores a group's progress with a delay, by CheckpointAfter and the checkpoint counts of
// [esclient.PersistentSettings]. After a restart of the server, or a change of the leader, it may redeliver messages
// that were acked. A Subscriber that was connected before remembers them and acks them again; another Subscriber hands
// them out again. If a group was deleted and created again, even while the Subscriber had no connection, all its
// messages are handed out. To distinguish the two, the Subscriber reads the server's records of groups, which
// administrators may read. For other users, the Subscriber hands out all messages in doubt: twice rather than never.
//
// # Package esclient
//
// This package is a layer over package esclient, a full client for EventStore, which can also be used alone and lend
// its connection to Publishers and Subscribers. Package estest is an EventStore in the process, for tests and first
// steps.
package eventstore
