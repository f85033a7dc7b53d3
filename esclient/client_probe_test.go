package esclient_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

func TestErrorsNameTheKindOfAWrongPort(t *testing.T) {
	t.Parallel()
	plain, secure := estest.Run(t), estest.Run(t, estest.WithTLS())
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, secure.CertPEM(), 0o600))
	admin := "://admin:changeit@"
	for name, tt := range map[string]struct{ url, text string }{
		"TCP at the HTTP port":       {"tcp" + admin + plain.HTTPAddr(), "HTTP port"},
		"TCP at the HTTPS port":      {"tcp" + admin + secure.HTTPAddr(), "HTTPS: this looks like the HTTP port"},
		"TCP at the port with TLS":   {"tcp" + admin + secure.Addr(), "it speaks TLS"},
		"TLS at the port without":    {"tls" + admin + plain.Addr() + "?connectTimeout=1000", "it does not speak TLS"},
		"TLS at the HTTPS port":      {"tls" + admin + secure.HTTPAddr() + "?tlsCAFile=" + ca, "HTTP port"},
		"TLS at the plain HTTP port": {"tls" + admin + plain.HTTPAddr(), "HTTP port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, tt.url)
			start := time.Now()
			_, err := c.Ping(testContext(t))
			assert.ErrorIs(t, err, esclient.ErrNotEventStore)
			assert.ErrorContains(t, err, tt.text)
			assert.ErrorContains(t, err, "127.0.0.1:")
			assert.NotContains(t, err.Error(), "changeit")
			assert.Less(t, time.Since(start), 8*time.Second, "at the default time limits")
		})
	}
}

func TestErrorsNameTheAddressThatCouldNotBeReached(t *testing.T) {
	t.Parallel()
	refusing := wiretest.Refusing(t)
	for _, addr := range []string{refusing, "no-such-host.invalid:1113"} {
		c := open(t, "tcp://admin:changeit@"+addr)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := c.Ping(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		var last *esclient.ConnectionError
		if assert.ErrorAs(t, err, &last) {
			assert.Equal(t, addr, last.Endpoint)
		}
		assert.ErrorContains(t, err, addr)
	}
}

// A node that knows no leader to go to but names one in its answer.
func TestNotLeaderNamesTheLeader(t *testing.T) {
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.MaxRetries = -1 })
	done := appendTwo(testContext(t), c, 2)
	info, err := proto.Marshal(&esproto.NotHandled_LeaderInfo{
		ExternalTcpAddress: proto.String("10.1.2.3"), ExternalTcpPort: proto.Int32(1113),
	})
	require.NoError(t, err)
	refusal, err := proto.Marshal(&esproto.NotHandled{
		Reason: esproto.NotHandled_NotLeader.Enum(), AdditionalInfo: info,
	})
	require.NoError(t, err)
	s.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, refusal)
	assert.ErrorContains(t, (<-done).err, "10.1.2.3:1113")
}
