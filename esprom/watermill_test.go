package esprom_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
)

// One registry has the metrics of Watermill's handlers and those of the client below them.
func TestWatermillsMetricsAreInTheSameRegistry(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{Streams: []string{"orders"}})
	log := watermill.NopLogger{}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: m.client}, log)
	require.NoError(t, err)
	subscriber, err := eventstore.NewSubscriber(
		eventstore.SubscriberConfig{Client: m.client, ConsumerGroup: "billing"}, log)
	require.NoError(t, err)
	router, err := message.NewRouter(message.RouterConfig{}, log)
	require.NoError(t, err)
	builder := metrics.NewPrometheusMetricsBuilder(m.registry, "watermill", "")
	builder.AddPrometheusRouterMetrics(router)
	measuredPublisher, err := builder.DecoratePublisher(publisher)
	require.NoError(t, err)
	router.AddConsumerHandler("billing", "orders", subscriber, func(*message.Message) error { return nil })
	ended := make(chan error, 1)
	go func() { ended <- router.Run(testContext(t)) }()
	<-router.Running()
	for range 3 {
		require.NoError(t, measuredPublisher.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte("{}"))))
	}
	of := []string{"stream", "orders", "group", "billing"}
	m.reaches(t, 3, "watermill_publish_time_seconds")
	m.reaches(t, 3, "watermill_handler_execution_time_seconds", "handler_name", "billing")
	m.reaches(t, 3, "watermill_subscriber_messages_received_total", "handler_name", "billing")
	m.reaches(t, 3, "eventstore_subscription_delivered_total", of...)
	m.reaches(t, 3, "eventstore_subscription_acked_total", of...)
	require.NoError(t, router.Close())
	require.NoError(t, publisher.Close())
	assert.NoError(t, <-ended)
}
