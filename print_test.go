package eventstore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

func TestNothingPrintsThePassword(t *testing.T) {
	for _, connectionString := range []string{
		"tcp://jane:hunter2@127.0.0.1:1?heartbeatTimeout=500",
		"ConnectTo=tcp://127.0.0.1:1; DefaultUserCredentials=jane:hunter2",
		"discover://jane:hunter2@127.0.0.1:1",
		"nonsense://jane:hunter2@host",
	} {
		forPublisher := eventstore.PublisherConfig{ConnectionString: connectionString}
		forSubscriber := eventstore.SubscriberConfig{ConnectionString: connectionString, ConsumerGroup: "group"}
		values := []any{forPublisher, &forPublisher, forSubscriber, &forSubscriber}
		if pub, err := eventstore.NewPublisher(forPublisher, nil); err == nil {
			defer pub.Close()
			values = append(values, pub)
		} else {
			values = append(values, err)
		}
		if sub, err := eventstore.NewSubscriber(forSubscriber, nil); err == nil {
			defer sub.Close()
			values = append(values, sub)
		}
		for _, v := range values {
			var b bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%+d", "%10v"} {
				fmt.Fprintf(&b, verb, v)
				fmt.Fprintf(&b, verb, []any{v})
				fmt.Fprintf(&b, verb, struct{ V any }{v})
			}
			slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
			slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
			inJSON, err := json.Marshal(v)
			fmt.Fprintln(&b, string(inJSON), err)
			assert.NotContains(t, b.String(), "hunter2", "%T", v)
			assert.NotContains(t, b.String(), fmt.Sprintf("%x", "hunter2"), "%T", v)
		}
	}
}

func TestConfigsPrintTheirOtherSettings(t *testing.T) {
	cfg := eventstore.SubscriberConfig{
		ConnectionString: "tcp://jane:hunter2@host", ConsumerGroup: "group", InFlight: 42,
	}
	assert.Contains(t, fmt.Sprintf("%+v", cfg), "ConnectionString:tcp://jane:xxxxx@host:1113")
	assert.Contains(t, fmt.Sprintf("%+v", cfg), "ConsumerGroup:group")
	assert.Contains(t, fmt.Sprintf("%#v", cfg), "InFlight:42")
	text, err := cfg.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%+v", cfg), string(text))
	assert.Contains(t, fmt.Sprintf("%+v", eventstore.PublisherConfig{CloseTimeout: 7}), "CloseTimeout:7ns")
}
