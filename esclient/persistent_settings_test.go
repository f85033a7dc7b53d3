package esclient_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// unusual are settings that all differ from the defaults.
func unusual() esclient.PersistentSettings {
	return esclient.PersistentSettings{
		ResolveLinks: true, StartFrom: 1, MessageTimeout: esclient.MaxMessageTimeout, RecordStatistics: true,
		LiveBufferSize: 60, ReadBatchSize: 7, BufferSize: 80, MaxRetryCount: esclient.UnlimitedRetries,
		CheckpointAfter: 1500 * time.Millisecond, CheckpointMinCount: 3, CheckpointMaxCount: 4, MaxSubscriberCount: 5,
		Strategy: esclient.DispatchToSingle,
	}
}

// withPlainUser is a server on which jane is a user without further rights, and a client of hers that knows nothing of
// the HTTP interface.
func withPlainUser(t *testing.T, p estest.Persona) (srv *estest.Server, admin, jane *esclient.Client) {
	t.Helper()
	srv, admin = embeddedAsAdmin(t, estest.WithPersona(p), estest.WithUser("jane", "secret"))
	return srv, admin, openWith(t, "tcp://jane:secret@"+srv.Addr(), func(*esclient.Config) {})
}

func TestAnAdministratorReadsTheSettingsOfAGroup(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			_, c := embeddedAsAdmin(t, estest.WithPersona(persona))
			ctx := testContext(t)
			_, err := c.GroupSettings(ctx, "s", "g")
			require.ErrorIs(t, err, esclient.ErrGroupNotFound, "no group was ever made")
			stream, group := group(t, c, unusual())
			got, err := c.GroupSettings(ctx, stream, group)
			require.NoError(t, err)
			assert.Equal(t, unusual(), got)
			require.NoError(t, c.UpdatePersistent(ctx, stream, group, fromStart()))
			got, err = c.GroupSettings(ctx, stream, group)
			require.NoError(t, err)
			assert.Equal(t, fromStart(), got)
			_, err = c.GroupSettings(ctx, stream, "other")
			require.ErrorIs(t, err, esclient.ErrGroupNotFound)
			var failed *esclient.OperationError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, "other", failed.Group)
			require.NoError(t, c.DeletePersistent(ctx, stream, group))
			_, err = c.GroupSettings(ctx, stream, group)
			require.ErrorIs(t, err, esclient.ErrGroupNotFound)
		})
	}
}

func TestAPlainUserReadsTheSettingsOfAGroupOverHTTP(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			srv, admin, jane := withPlainUser(t, persona)
			ctx := testContext(t)
			stream, group := group(t, admin, unusual())
			_, err := jane.GroupSettings(ctx, stream, group)
			require.ErrorIs(t, err, esclient.ErrAccessDenied)
			webby := openWith(t, "tcp://jane:secret@"+srv.Addr(), func(cfg *esclient.Config) {
				cfg.HTTPEndpoint = srv.HTTPAddr()
			})
			got, err := webby.GroupSettings(ctx, stream, group)
			require.NoError(t, err)
			assert.Equal(t, unusual(), got)
			_, err = webby.GroupSettings(ctx, stream, "other")
			require.ErrorIs(t, err, esclient.ErrGroupNotFound)
		})
	}
}

func TestGroupSettingsWithoutAnswerFailSoon(t *testing.T) {
	t.Parallel()
	srv, admin, _ := withPlainUser(t, estest.Persona5011)
	stream, group := group(t, admin, unusual())
	jane := openWith(t, "tcp://jane:secret@"+srv.Addr(), func(cfg *esclient.Config) {
		cfg.HTTPEndpoint = "127.0.0.1:1"
	})
	_, err := jane.GroupSettings(testContext(t), stream, group)
	require.ErrorIs(t, err, esclient.ErrAccessDenied)
	require.ErrorContains(t, err, "GET http://127.0.0.1:1/", "it says that HTTP was tried, too")
	var dial *net.OpError
	require.ErrorAs(t, err, &dial)

	srv.Intercept(esproto.CmdReadStreamEventsBackward, estest.Drop())
	begun := time.Now()
	_, err = admin.GroupSettings(testContext(t), stream, group)
	require.ErrorIs(t, err, esclient.ErrOperationTimeout)
	assert.Less(t, time.Since(begun), 8*time.Second)
}

func TestSettingsOfGroupsThatCannotBe(t *testing.T) {
	c := connect(t)
	for _, name := range [][2]string{{"", "g"}, {"s", ""}} {
		_, err := c.GroupSettings(testContext(t), name[0], name[1])
		require.ErrorIs(t, err, esclient.ErrInvalidArgument)
	}
}
