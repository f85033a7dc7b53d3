package eventstore_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// startReadModel has the code of README's section "Read models".
func startReadModel(
	ctx context.Context, client *esclient.Client, logger watermill.LoggerAdapter,
) (*eventstore.Subscriber, <-chan *message.Message, error) {
	store, err := eventstore.NewStreamCheckpoints(client, "")
	if err != nil {
		return nil, nil, err
	}

	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, Mode: eventstore.ModeCatchUp, SubscriberName: "invoices", Checkpoints: store,
	}, logger)
	if err != nil {
		return nil, nil, err
	}

	messages, err := subscriber.Subscribe(ctx, "orders")
	return subscriber, messages, err
}

// The code compiles and works as README has it, without the handling of errors.
func TestREADMEHasTheCodeOfAReadModel(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	_, body, _ := strings.Cut(string(source), "error) {\n")
	body, _, _ = strings.Cut(body, "\treturn subscriber,")
	body = regexp.MustCompile(`(?s)\tif err != nil \{.*?\n\t\}\n`).ReplaceAllString(body, "")
	code := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(strings.TrimSpace(body), "")

	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(readme), "\n## Read models\n")
	_, section, _ = strings.Cut(section, "```go\n")
	block, _, ok := strings.Cut(section, "\n```\n")
	require.True(t, ok, "README.md has no code in the section Read models")
	block = regexp.MustCompile(`(?m) // .*$`).ReplaceAllString(block, "")
	assert.Equal(t, code, block)

	client := openClient(t, connectionString(t))
	subscriber, messages, err := startReadModel(t.Context(), client, watermill.NopLogger{})
	require.NoError(t, err)
	require.NoError(t, subscriber.Close())
	for msg := range messages { // of other tests on the same server
		msg.Nack()
	}
}
