package mails

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// mailer is the handler: it sends a mail for each order.
type mailer struct{ send func(order int) error }

func (m mailer) handle(msg *message.Message) error {
	var order struct{ Number int }
	if err := json.Unmarshal(msg.Payload, &order); err != nil {
		eventstore.NackWith(msg, eventstore.ActionPark, err.Error())
		return err
	}
	return m.send(order.Number)
}

// start runs a Router with the handler until the test ends.
func start(t *testing.T, client *esclient.Client, m mailer) {
	t.Helper()
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, ConsumerGroup: "mails", NackDelay: time.Millisecond,
	}, nil)
	require.NoError(t, err)
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	require.NoError(t, err)
	router.AddConsumerHandler("mails", "orders", subscriber, m.handle)
	ended := make(chan error, 1)
	go func() { ended <- router.Run(context.Background()) }()
	<-router.Running()
	t.Cleanup(func() {
		assert.NoError(t, router.Close())
		assert.NoError(t, <-ended)
	})
}

func TestMailsAreSentInOrderOverFaults(t *testing.T) {
	server := estest.Run(t)
	client, err := esclient.Open(server.ConnectionString())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: client}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, publisher.Close()) })

	for _, payload := range []string{`{"number":1}`, `nonsense`, `{"number":2}`, `{"number":3}`} {
		require.NoError(t, publisher.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte(payload))))
	}

	sent, failed := make(chan int, 10), false
	start(t, client, mailer{func(order int) error {
		switch {
		case order == 1 && !failed:
			failed = true
			return errors.New("the mail server is busy")
		case order == 2:
			server.DropConnections() // while the handler runs
		}
		sent <- order
		return nil
	}})
	for _, want := range []int{1, 2, 3} {
		select {
		case order := <-sent:
			require.Equal(t, want, order)
		case <-time.After(10 * time.Second):
			t.Fatalf("order %d got no mail", want)
		}
	}
	require.Eventually(t, func() bool {
		stats := server.Stats()
		return stats.Parked == 1 && stats.InFlight == 0
	}, 10*time.Second, time.Millisecond)
	for parked, err := range client.ReadParked(t.Context(), "orders", "mails") {
		require.NoError(t, err)
		assert.Equal(t, "nonsense", string(parked.Event.Data))
		assert.Contains(t, parked.Reason, "invalid character")
	}
}
