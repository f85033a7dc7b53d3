package esclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

func TestDiscoverByGossip(t *testing.T) {
	srv, _ := embedded(t)
	refusing := wiretest.Refusing(t)
	for _, s := range []string{
		"discover://admin:changeit@" + srv.HTTPAddr(),
		"ConnectTo=discover://admin:changeit@" + srv.HTTPAddr() + "; NodePreference=master; GossipTimeout=2000",
		"discover://admin:changeit@" + srv.HTTPAddr() + "?gossipSeeds=" + refusing,
		"discover://admin:changeit@" + refusing + "?gossipSeeds=" + srv.HTTPAddr(),
		"tcp://admin:changeit@" + refusing + "?gossipSeeds=" + refusing + "," + srv.HTTPAddr(),
		"GossipSeeds=" + refusing + "," + srv.HTTPAddr() + "; DefaultUserCredentials=admin:changeit",
	} {
		c := open(t, s)
		stream := name("s")
		_, err := c.Append(testContext(t), stream, esclient.NoStream, numbered(0, 0)...)
		require.NoError(t, err, s)
		srv.DropConnections()
		_, err = c.Append(testContext(t), stream, 0, numbered(1, 1)...)
		require.NoError(t, err, s)
		require.NoError(t, c.Close())
	}
}

func TestDiscoverSettings(t *testing.T) {
	for s, setting := range map[string]string{
		"tcp://host?gossipTimeout=5":                 "gossipTimeout",
		"discover://host?gossipTimeout=x":            "gossipTimeout",
		"discover://host?nodePreference=best":        "nodePreference",
		"discover://host?gossipTLS=perhaps":          "gossipTLS",
		"discover://host:99999":                      "connection string",
		"GossipSeeds=a:1,,b:2":                       "GossipSeeds",
		"GossipSeeds=a:1;NodePreference=first":       "NodePreference",
		"ConnectTo=tcp://host;nodePreference=random": "nodePreference",
	} {
		_, err := esclient.ParseConnectionString(s)
		var e *esclient.ConfigError
		require.ErrorAs(t, err, &e, s)
		assert.Equal(t, setting, e.Setting, s)
	}
	cfg, err := esclient.ParseConnectionString(
		"discover://cluster.example?nodePreference=follower&requireLeader=false&tls=true&gossipTLS=false")
	require.NoError(t, err)
	assert.NotNil(t, cfg.Gossip)
	assert.Nil(t, cfg.Gossip.TLS)
	assert.NotNil(t, cfg.TLS)
	assert.True(t, cfg.AllowFollower)
}

// journal records the calls of hooks.
type journal struct{ events chan string }

func (j journal) OnConnected(esclient.ConnectionInfo)            { j.events <- "connected" }
func (j journal) OnDisconnected(esclient.ConnectionInfo)         { j.events <- "disconnected" }
func (j journal) OnReconnecting(esclient.ConnectionInfo)         { j.events <- "reconnecting" }
func (j journal) OnAuthenticationFailed(esclient.ConnectionInfo) { j.events <- "refused" }
func (j journal) OnClosed(esclient.ConnectionInfo)               { j.events <- "closed" }

func TestHooksSeeTheConnection(t *testing.T) {
	srv, _ := embedded(t)
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	require.NoError(t, err)
	j := journal{events: make(chan string, 100)}
	cfg.Hooks = []esclient.Hook{j}
	cfg.ReconnectDelay = time.Millisecond
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	require.NoError(t, c.Connect(testContext(t)))
	assert.Equal(t, "connected", <-j.events)
	srv.DropConnections()
	for _, want := range []string{"disconnected", "reconnecting", "connected"} {
		assert.Equal(t, want, <-j.events)
	}
	require.NoError(t, c.Close())
	<-c.Closed()
	assert.Equal(t, "disconnected", <-j.events)
	assert.Equal(t, "closed", <-j.events)
	assert.Empty(t, j.events)
}

func TestWrongPasswordAndWrongServerAreSaidAtOnce(t *testing.T) {
	srv, _ := embedded(t)
	j := journal{events: make(chan string, 100)}
	cfg, err := esclient.ParseConnectionString("tcp://admin:wrong@" + srv.Addr())
	require.NoError(t, err)
	cfg.Hooks = []esclient.Hook{j}
	wrong, err := esclient.New(cfg)
	require.NoError(t, err)
	defer wrong.Close()
	_, err = wrong.Append(testContext(t), "s", esclient.Any, numbered(0, 0)...)
	assert.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	assert.NotContains(t, err.Error(), "wrong@")
	assert.Equal(t, "refused", <-j.events)

	web := openWith(t, "tcp://admin:changeit@"+srv.HTTPAddr(), func(cfg *esclient.Config) {
		cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 50*time.Millisecond, 50*time.Millisecond // it may just be silent
	})
	_, err = web.Ping(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrNotEventStore, "that is the HTTP port")
}
