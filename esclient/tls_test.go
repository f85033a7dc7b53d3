package esclient_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// trusting writes down what a client of the server must trust.
func trusting(t testing.TB, srv *estest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, srv.CertPEM(), 0o600))
	return path
}

func TestAnEncryptedConnection(t *testing.T) {
	srv := estest.Run(t, estest.WithTLS())
	c := open(t, srv.ConnectionString()+"?tlsCAFile="+trusting(t, srv))
	_, err := c.Append(t.Context(), "s", esclient.Any, esclient.EventData{Type: "T", Data: []byte("over TLS")})
	require.NoError(t, err)
	events, err := srv.Read("s", 0, 0)
	require.NoError(t, err)
	require.Len(t, events, 1)
	assert.Equal(t, "over TLS", string(events[0].Data))
}

// Gossip is asked over HTTPS, and a node that does not lead names the secure port of the one that does.
func TestAnEncryptedCluster(t *testing.T) {
	cluster := estest.RunCluster(t, 3, estest.WithTLS())
	c := open(t, cluster.ConnectionString()+"; tlsCAFile="+trusting(t, cluster.Node(0)))
	for n := range cluster.Size() {
		require.NoError(t, cluster.Elect(n))
		_, err := c.Append(t.Context(), "s", esclient.Any, esclient.EventData{Type: "T"})
		require.NoError(t, err)
	}
	events, err := cluster.Node(0).Read("s", 0, 0)
	require.NoError(t, err)
	assert.Len(t, events, cluster.Size())
}
