package main

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// eventNumberKey is the metadata with the number that an event has in its stream.
const eventNumberKey = "event_number"

// forward publishes the messages of the outbox, in their order, until ctx ends. If EventStore is down, it tries the
// same message again until it is back. An event that EventStore refuses for good, because another program has written
// to the stream of the order, holds up those behind it: the log has the error at each attempt.
func forward(ctx context.Context, db *sql.DB, client *esclient.Client, logger watermill.LoggerAdapter) error {
	outbox, err := newOutboxSubscriber(db)
	if err != nil {
		return err
	}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		Client: client,
		// If this process is killed before it has removed a message from the outbox, the next one publishes the message
		// again. EventStore then finds the event by its id, and writes nothing.
		UseMessageUUIDAsEventID: true,
		RepublishUnknown:        true,
	}, logger)
	if err != nil {
		return err
	}
	defer publisher.Close()
	f, err := forwarder.NewForwarder(outbox, numbered{publisher}, logger, forwarder.Config{ForwarderTopic: outboxTopic})
	if err != nil {
		return err
	}
	return f.Run(ctx)
}

func newOutboxSubscriber(db *sql.DB) (*wsql.Subscriber, error) {
	noDeadline := time.Duration(0) // a message waits for EventStore as long as it takes
	return wsql.NewSubscriber(autocommit{wsql.BeginnerFromStdSQL(db)}, wsql.SubscriberConfig{
		SchemaAdapter: outboxSchema{}, OffsetsAdapter: outboxOffsets{},
		AckDeadline: &noDeadline, PollInterval: 20 * time.Millisecond, ResendInterval: 200 * time.Millisecond,
	}, nil)
}

// numbered publishes each event on condition that it gets the number that the shop has given it. So EventStore looks
// for its id in the stream itself, and finds it after a restart too. Without a number it looks in its memory only.
type numbered struct{ message.Publisher }

func (p numbered) Publish(stream string, messages ...*message.Message) error {
	for _, msg := range messages {
		number, err := strconv.ParseUint(msg.Metadata.Get(eventNumberKey), 10, 63)
		if err != nil {
			return fmt.Errorf("%s of message %s: %w", eventNumberKey, msg.UUID, err)
		}
		before := esclient.NoStream
		if number > 0 {
			before = esclient.ExpectedVersion(number - 1)
		}
		msg.SetContext(eventstore.WithExpectedVersion(msg.Context(), before))
	}
	return p.Publisher.Publish(stream, messages...)
}
