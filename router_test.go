package eventstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

func newRouter(t testing.TB) *message.Router {
	t.Helper()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: patience}, watermill.NopLogger{})
	require.NoError(t, err)
	return router
}

// runRouter returns when the router is running; stop closes it.
func runRouter(t testing.TB, router *message.Router) (stop func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- router.Run(context.Background()) }()
	select {
	case <-router.Running():
	case err := <-ended:
		require.NoError(t, err, "the router ended")
	}
	return func() {
		require.NoError(t, router.Close())
		require.NoError(t, <-ended)
	}
}

func TestRouterFinishesRunningHandlers(t *testing.T) {
	c := openClient(t, connectionString(t))
	in, out := name("in"), name("out")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), in, 1, 5)
	cfg := eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", AckGrace: patience}
	router, started, finish := newRouter(t), make(chan struct{}, 1), make(chan struct{})
	router.AddHandler("copy", in, newSubscriber(t, cfg), out, newPublisher(t, eventstore.PublisherConfig{Client: c}),
		func(msg *message.Message) ([]*message.Message, error) {
			if string(msg.Payload) == "3" {
				started <- struct{}{}
				<-finish
			}
			return []*message.Message{msg.Copy()}, nil
		})
	stop := runRouter(t, router)
	<-started
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	stop()
	assert.Equal(t, numbers(1, 3), payloads(t, c, out))
	assert.Equal(t, numbers(4, 5), consume(t, subscribe(t, newSubscriber(t, cfg), in), 2),
		"processed messages are not processed again")
}
