package esclient_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// trusting writes the certificate that a client of the server must trust.
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

// strange returns the certificate of an authority that no server has its own from.
func strange(t testing.TB) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestTheCAFileIsReadAgainForEachConnection(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t, estest.WithTLS())
	path := trusting(t, srv)
	var out bytes.Buffer
	var mu sync.Mutex
	c := openWith(t, srv.ConnectionString()+"?tlsCAFile="+path, func(cfg *esclient.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, nil))
	})
	ping := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := c.Ping(ctx)
		return err
	}
	require.NoError(t, ping(10*time.Second))
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(path, []byte("garbled"), 0o600) },
		func() error { return os.Remove(path) },
	} {
		require.NoError(t, spoil())
		srv.DropConnections()
		require.NoError(t, ping(10*time.Second), "what the file held before counts")
	}
	mu.Lock()
	assert.Contains(t, out.String(), "authorities")
	mu.Unlock()

	require.NoError(t, os.WriteFile(path, strange(t), 0o600))
	srv.DropConnections()
	err := ping(300 * time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "certificate")
	assert.ErrorContains(t, err, srv.Addr())
	require.NoError(t, os.Remove(path))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.ErrorContains(c, ping(100*time.Millisecond), "TLSCAFile")
	}, patience, time.Millisecond, "the error says that the file cannot be read")
	require.NoError(t, os.WriteFile(path, srv.CertPEM(), 0o600))
	require.NoError(t, ping(10*time.Second))
}

func TestTheCAFileOfGossipAndHTTPIsReadAgain(t *testing.T) {
	cluster := estest.RunCluster(t, 3, estest.WithTLS())
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, strange(t), 0o600))
	c := open(t, cluster.ConnectionString()+"; tlsCAFile="+path)
	m, err := esadmin.New(c)
	require.NoError(t, err)
	_, err = m.Users(testContext(t))
	require.ErrorContains(t, err, "certificate")
	require.NoError(t, os.WriteFile(path, cluster.Node(0).CertPEM(), 0o600))
	require.Eventually(t, func() bool {
		_, err := c.Ping(testContext(t))
		return err == nil
	}, patience, time.Millisecond)
	_, err = m.Users(testContext(t))
	assert.NoError(t, err)
}

func TestATLSHandshakeThatIsNotAnsweredIsNamed(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	c := openWith(t, "tls://"+silent.Addr().String(), func(cfg *esclient.Config) {
		cfg.ConnectTimeout = 30 * time.Millisecond
	})
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return strings.Contains(c.Connect(ctx).Error(), "TLS handshake")
	}, patience, time.Millisecond)
}
