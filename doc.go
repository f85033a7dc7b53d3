// Package eventstore is a Watermill Pub/Sub for EventStore (EventStoreDB), over its TCP protocol, for servers 4.1 to
// 23.10.
//
// A topic is a stream. Messages are events: a Publish call appends them, a Subscriber reads them in one of three ways.
//
//	                     how messages are shared              what a new subscriber gets   acks
//	consumer group       each to one subscriber of the group  from the group's progress    kept by the server
//	fan-out (volatile)   each to every subscription           what comes from now on       hand out the next
//	catch-up             each to every subscription           all, from a start position   hand out the next
//
// All of them hand out one message at a time and the next one after its ack, so that the order of the stream is kept;
// SubscriberConfig.Concurrency gives up just that much of it that is wanted. A nacked message is handed out again by
// the same subscription after a pause, which grows with each nack. Delivery is at least once.
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
// PublisherConfig.StreamName spreads a topic over streams, one for each aggregate for example;
// SubscriberConfig.StreamName and ResolveLinks bring them together again, by the server's projections: "$ce-order" has
// the events of all streams whose name begins with "order-", each a moment after it was published. The topic "$all", in
// catch-up mode, is everything.
//
// # Slow and failing handlers
//
// A message of a group belongs to the connection that it was pushed to, however long its handler takes: groups with
// DefaultGroupSettings have no timeouts, and no number of failures after which the server parks a message. A consumer
// that dies is seen by its connection, and what it had goes to the others at once.
//
// Other groups have a MessageTimeout, which runs from the push on, and park a message after MaxRetryCount. There a
// Subscriber takes no more ahead than its handlers get round to in time, and gives back to the server what has waited
// for too long, which never parks a message. What a handler has is acked when it is done, however late, though others
// may have got it meanwhile. The logger is told once of handlers that are slower than the group allows, and at each
// Subscribe of a group with other settings than asked for; see SubscriberConfig.GroupPolicy.
//
// # Routers and shutdown
//
// When a subscription ends, by its context, Close or a Router, a handler that is at work can still say what becomes of
// its message, by Ack or NackWith, for SubscriberConfig.AckGrace: 30 s by default, as long as a Router waits for its
// handlers. Nothing more is handed out meanwhile, and what nobody works on goes back at once.
//
// A Router closes the Publisher of a handler that has stopped: give each handler a Publisher of its own. They may share
// a Client.
//
// # Lost connections
//
// Connections heal by themselves, with backoff, for ever. Publish waits for one until the message's context or
// PublisherConfig.PublishTimeout ends. Where a reply was lost it publishes again if the server is sure to recognise the
// events; else the error says that the outcome is unknown (esclient.ErrOutcomeUnknown, PublishError.Unknown), or
// PublisherConfig.RepublishUnknown decides. Subscriptions go on where they were: a group's messages that were acked
// while the connection was gone are acked again and not handed out twice, and what a volatile subscription missed is
// read back.
//
// The server keeps a group's progress with a delay (esclient.PersistentSettings, CheckpointAfter and the counts). After
// its restart, or when another node becomes the leader, it may deliver messages again that were acked before. A
// Subscriber that was connected remembers them and acks them again; another one gets them twice. A group that was
// deleted and made anew, even while the Subscriber had no connection, has everything handed out. To tell the two apart
// it reads what the server writes about groups, which administrators may. For other users everything that is in doubt
// is handed out, rather twice than never.
//
// # Package esclient
//
// The connector is a layer over package esclient, a full client for EventStore which can be used by itself and lend its
// connection to Publishers and Subscribers. Package estest is an EventStore in the process for tests and first steps.
package eventstore
