package eventstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// A plain user cancels Subscribe while the server still looks up the rights. No subscription stays at the server that
// would take the next subscriber's messages.
func TestAnAbandonedSubscribeLeavesNoSubscription(t *testing.T) {
	t.Parallel()
	for _, version := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for _, group := range []string{"g", ""} {
			t.Run(string(version)+" "+group, func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(version), estest.WithUser("plain", "secret"),
					estest.WithAsyncRights(40*time.Millisecond))
				topic := name("topic")
				admin := openClient(t, srv.ConnectionString())
				if group != "" {
					require.NoError(t, admin.CreatePersistent(t.Context(), topic, group,
						esclient.DefaultPersistentSettings()))
				}
				c := openClient(t, "tcp://plain:secret@"+srv.Addr())
				require.NoError(t, c.Connect(t.Context()))
				cfg := eventstore.SubscriberConfig{Client: c, ConsumerGroup: group, DisableGroupCreation: true}
				for i := range 10 {
					sub := newSubscriber(t, cfg)
					short, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Millisecond)
					_, _ = sub.Subscribe(short, topic)
					cancel()
					require.NoError(t, sub.Close())
				}
				time.Sleep(80 * time.Millisecond) // all rights have been looked up
				require.Eventually(t, func() bool {
					stats := srv.Stats()
					return stats.Subscriptions == 0 && (group == "" || stats.Groups[0].Clients == 0)
				}, patience, time.Millisecond)

				messages := subscribe(t, newSubscriber(t, cfg), topic)
				pub := newPublisher(t, eventstore.PublisherConfig{Client: admin})
				publishNumbered(t, pub, topic, 0, 9)
				for range 10 {
					receive(t, messages).Ack()
				}
				assert.LessOrEqual(t, srv.Stats().ConnectionsTotal, int64(2), "nothing was cut for it")
			})
		}
	}
}
