// Package patterns tests functions that pages show.
package patterns

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var logger watermill.LoggerAdapter = watermill.NopLogger{} // as pages have it

// The pages show the functions that are tested here, with their comments.
func TestPagesShowTheTestedFunctions(t *testing.T) {
	t.Parallel()
	for file, shows := range map[string]struct {
		page  string
		names []string
	}{
		"delayed_test.go":       {"../delayed-messages.md", []string{"after", "whenDue"}},
		"publish_test.go":       {"../errors.md", []string{"publishAll"}},
		"request_reply_test.go": {"../request-reply.md", []string{"newBackend"}},
	} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		page, err := os.ReadFile(shows.page)
		require.NoError(t, err)
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, source, parser.ParseComments)
		require.NoError(t, err)
		functions := make(map[string]string)
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Doc != nil {
				functions[f.Name.Name] = string(source[set.Position(f.Doc.Pos()).Offset:set.Position(f.End()).Offset])
			}
		}
		for _, name := range shows.names {
			require.NotEmpty(t, functions[name], name)
			assert.Contains(t, string(page), functions[name]+"\n")
		}
	}
}

// open returns a client of a server, which the test closes.
func open(t *testing.T, server *estest.Server) *esclient.Client {
	t.Helper()
	client, err := esclient.Open(server.ConnectionString())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

func newPublisher(t *testing.T, cfg eventstore.PublisherConfig) *eventstore.Publisher {
	t.Helper()
	publisher, err := eventstore.NewPublisher(cfg, logger)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, publisher.Close()) })
	return publisher
}

// run runs a router; stop ends it.
func run(t *testing.T, router *message.Router) (stop func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- router.Run(t.Context()) }()
	<-router.Running()
	return func() {
		assert.NoError(t, router.Close())
		assert.NoError(t, <-ended)
	}
}

func newMessage(payload string) *message.Message {
	return message.NewMessage(watermill.NewUUID(), []byte(payload))
}

func newRouter(t *testing.T) *message.Router {
	t.Helper()
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	require.NoError(t, err)
	return router
}
