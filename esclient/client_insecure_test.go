package esclient_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Most people's compose file has --insecure, and code that gives credentials all the same.
func TestAnInsecureServerTakesAnyCredentials(t *testing.T) {
	srv, _ := embeddedAsAdmin(t, estest.WithPersona(estest.Persona2310), estest.WithInsecure())
	for what, user := range map[string]*url.Userinfo{
		"right": url.UserPassword("admin", "changeit"), "wrong": url.UserPassword("who", "ever"), "none": nil,
	} {
		t.Run(what, func(t *testing.T) {
			u := url.URL{Scheme: "tcp", Host: srv.Addr(), User: user}
			c := openWith(t, u.String(), func(cfg *esclient.Config) { cfg.HTTPEndpoint = srv.HTTPURL() })
			ctx, stream, group := testContext(t), name("s"), "g"
			_, err := c.Ping(ctx)
			require.NoError(t, err)
			appendNumbered(t, c, stream, 0, 3)
			require.NoError(t, c.CreatePersistent(ctx, stream, group, fromStart()))
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 3})
			assert.Equal(t, words(0, 3), consume(t, p, 4))
			for _, err := range c.ReadAll(ctx, esclient.ReadAllOptions{MaxCount: 3}) {
				require.NoError(t, err)
			}

			m, err := esadmin.New(c)
			require.NoError(t, err)
			info, err := m.Group(ctx, stream, group)
			require.NoError(t, err)
			assert.Len(t, info.Connections, 1)
			require.NoError(t, m.ReplayParked(ctx, stream, group, 0))
			_, err = m.Users(ctx)
			assert.ErrorIs(t, err, esclient.ErrNotSupported)
			assert.ErrorIs(t, m.DeleteUser(ctx, "admin"), esclient.ErrNotSupported)
			assert.ErrorContains(t, err, "insecure")
			require.NoError(t, c.DeletePersistent(ctx, stream, group))
		})
	}
}
