package patterns

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/components/requestreply"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

type PlaceOrder struct{ ID string }

type Placed struct{ Number int }

// newBackend serves both sides: the handler publishes to the stream in the command's metadata, the asker reads its own.
func newBackend(
	client *esclient.Client, publisher message.Publisher, replyStream string,
) (*requestreply.PubSubBackend[Placed], error) {
	replies, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, Mode: eventstore.ModeVolatile,
	}, logger)
	if err != nil {
		return nil, err
	}
	timeout := 10 * time.Second
	return requestreply.NewPubSubBackend(requestreply.PubSubBackendConfig{
		Publisher: publisher,
		SubscriberConstructor: func(requestreply.PubSubBackendSubscribeParams) (message.Subscriber, error) {
			return replies, nil // the same for all requests
		},
		GenerateSubscribeTopic: func(requestreply.PubSubBackendSubscribeParams) (string, error) {
			return replyStream, nil
		},
		GeneratePublishTopic: func(p requestreply.PubSubBackendPublishParams) (string, error) {
			return p.CommandMessage.Metadata.Get("reply_to"), nil
		},
		ListenForReplyTimeout: &timeout,
		AckCommandErrors:      true, // an error is an answer too: do not redeliver the command
	}, requestreply.BackendPubsubJSONMarshaler[Placed]{})
}

// placeOrders runs the handler of PlaceOrder, as the page does.
func placeOrders(
	t *testing.T, client *esclient.Client, place func(ctx context.Context, cmd *PlaceOrder) (Placed, error),
) (stop func()) {
	t.Helper()
	publisher := newPublisher(t, eventstore.PublisherConfig{Client: client, RepublishUnknown: true})
	backend, err := newBackend(client, publisher, "")
	require.NoError(t, err)
	router := newRouter(t)
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		Marshaler: cqrs.JSONMarshaler{GenerateName: cqrs.StructName},
		GenerateSubscribeTopic: func(p cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
			return "commands-" + p.CommandName, nil
		},
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return eventstore.NewSubscriber(eventstore.SubscriberConfig{
				Client: client, ConsumerGroup: "orders", Concurrency: 16,
				Key: func(msg *message.Message) string { return msg.UUID },
			}, logger)
		},
	})
	require.NoError(t, err)
	require.NoError(t, processor.AddHandlers(requestreply.NewCommandHandlerWithResult("place", backend, place)))
	return run(t, router)
}

func TestRequestsShareAConnectionAndOutliveItsLoss(t *testing.T) {
	server := estest.Run(t)
	client := open(t, server)
	publisher := newPublisher(t, eventstore.PublisherConfig{Client: client, RepublishUnknown: true})
	var lost sync.Once
	defer placeOrders(t, client, func(_ context.Context, cmd *PlaceOrder) (Placed, error) {
		switch cmd.ID {
		case "":
			return Placed{}, errors.New("the order has no id")
		case "lost":
			lost.Do(server.DropConnections) // between request and reply
		}
		return Placed{Number: 1}, nil
	})()
	backend, err := newBackend(client, publisher, "replies-shop-1")
	require.NoError(t, err)
	bus, err := cqrs.NewCommandBusWithConfig(publisher, cqrs.CommandBusConfig{
		Marshaler: cqrs.JSONMarshaler{GenerateName: cqrs.StructName},
		GeneratePublishTopic: func(p cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			return "commands-" + p.CommandName, nil
		},
		OnSend: func(p cqrs.CommandBusOnSendParams) error {
			p.Message.Metadata.Set("reply_to", "replies-shop-1")
			return nil
		},
	})
	require.NoError(t, err)

	const requests = 20
	numbers := make(chan int, requests)
	for range requests {
		go func() {
			reply, err := requestreply.SendWithReply(t.Context(), bus, backend, &PlaceOrder{ID: "17"})
			assert.NoError(t, err)
			assert.NoError(t, reply.Error)
			numbers <- reply.HandlerResult.Number
		}()
	}
	for range requests {
		assert.Equal(t, 1, <-numbers)
	}
	assert.EqualValues(t, 1, server.Stats().ConnectionsTotal)
	reply, err := requestreply.SendWithReply(t.Context(), bus, backend, &PlaceOrder{})
	require.NoError(t, err)
	require.EqualError(t, reply.Error, "the order has no id")
	reply, err = requestreply.SendWithReply(t.Context(), bus, backend, &PlaceOrder{ID: "lost"})
	require.NoError(t, err)
	require.NoError(t, reply.Error)
	assert.Equal(t, 1, reply.HandlerResult.Number)
	require.Eventually(t, func() bool { return server.Stats().Subscriptions == 0 }, 10*time.Second, time.Millisecond,
		"the subscriptions of requests end with them")
}
