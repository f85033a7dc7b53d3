package patterns

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// publishAll publishes until all messages are written or ctx ends. The Publisher has UseMessageUUIDAsEventID.
func publishAll(ctx context.Context, publisher message.Publisher, topic string, messages []*message.Message) error {
	calls := [][]*message.Message{messages}
	for len(calls) > 0 {
		err := publisher.Publish(topic, calls[0]...)
		var failed *eventstore.PublishError
		switch {
		case err == nil:
			calls = calls[1:]
			continue
		case !errors.As(err, &failed),
			!esclient.SafeToRetry(err) && !errors.Is(err, esclient.ErrOutcomeUnknown):
			return err // repeating does not help
		}
		// Those of unknown outcome come first, alone: the server knows all of them or none.
		calls = append([][]*message.Message{failed.Unknown, failed.NotWritten}, calls[1:]...)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
	return nil
}

// One call has all three outcomes, for three streams: written, unknown and not written.
func TestARepeatedPublishCallWritesEachMessageOnce(t *testing.T) {
	server := estest.Run(t)
	publisher := newPublisher(t, eventstore.PublisherConfig{
		ConnectionString: server.ConnectionString(), UseMessageUUIDAsEventID: true,
		StreamName: func(topic string, msg *message.Message) (string, error) {
			return topic + msg.Metadata.Get("stream"), nil
		},
	})
	var messages []*message.Message
	for i := range 9 {
		msg := newMessage(strconv.Itoa(i))
		msg.Metadata.Set("stream", strconv.Itoa(i%3))
		messages = append(messages, msg)
	}
	var appends atomic.Int32 // of several connections
	rule := server.Intercept(esproto.CmdWriteEvents, estest.Choose(func(estest.Request) estest.Action {
		if appends.Add(1) == 2 {
			return estest.Unanswered(estest.Disconnect())
		}
		return estest.Action{}
	}))
	require.NoError(t, publishAll(t.Context(), publisher, "t", messages))
	rule.Remove()
	for i := range 3 {
		stream := strconv.Itoa(i)
		events, err := server.Read("t"+stream, 0, 0)
		require.NoError(t, err)
		var payloads []string
		for _, e := range events {
			payloads = append(payloads, string(e.Data))
		}
		assert.Equal(t, []string{stream, strconv.Itoa(i + 3), strconv.Itoa(i + 6)}, payloads)
	}
}

func TestAPublishCallIsNotRepeatedWithoutHope(t *testing.T) {
	server := estest.Run(t)
	publisher := newPublisher(t, eventstore.PublisherConfig{ConnectionString: server.ConnectionString()})
	msg := newMessage("x")
	msg.SetContext(eventstore.WithExpectedVersion(t.Context(), 41))
	require.ErrorIs(t, publishAll(t.Context(), publisher, "t", []*message.Message{msg}),
		esclient.ErrWrongExpectedVersion)
}
