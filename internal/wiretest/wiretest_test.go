package wiretest_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial connects to a listener as a client.
func dial(t *testing.T, l *wiretest.Listener) *wiretest.Peer {
	t.Helper()
	nc, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(10*time.Second)))
	return wiretest.NewPeer(nc)
}

// reply is the next frame, heartbeats included.
func reply(t *testing.T, c *wiretest.Peer) (esproto.Command, esproto.CorrelationID, string) {
	t.Helper()
	h, _, err := c.Frames.Next()
	require.NoError(t, err)
	payload, err := c.Frames.Take()
	require.NoError(t, err)
	return h.Command, h.CorrelationID, string(payload)
}

func TestFramesOfEveryClientAreAnswered(t *testing.T) {
	t.Parallel()
	c := dial(t, wiretest.Listen(t, (*wiretest.Peer).Echo))
	for sent, want := range map[esproto.Command]esproto.Command{
		esproto.CmdPing:             esproto.CmdPong,
		esproto.CmdHeartbeatRequest: esproto.CmdHeartbeatResponse,
		esproto.CmdAuthenticate:     esproto.CmdAuthenticated,
		esproto.CmdIdentifyClient:   esproto.CmdClientIdentified,
	} {
		id := esproto.CorrelationID{byte(sent)}
		c.Send(esproto.CmdHeartbeatResponse, id, nil) // which has no answer
		c.Send(sent, id, []byte("a"))
		cmd, answered, payload := reply(t, c)
		assert.Equal(t, want, cmd)
		assert.Equal(t, id, answered)
		assert.Equal(t, sent == esproto.CmdPing, payload == "a")
	}
}

func TestNextLeavesTheRestToTheTest(t *testing.T) {
	t.Parallel()
	c := dial(t, wiretest.Listen(t, func(p *wiretest.Peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			p.Send(f.Command+1, f.CorrelationID, f.Payload)
		}
	}))
	c.Send(esproto.CmdHeartbeatRequest, esproto.CorrelationID{1}, nil)
	c.Send(esproto.CmdWriteEvents, esproto.CorrelationID{2}, []byte("events"))
	cmd, _, _ := reply(t, c)
	assert.Equal(t, esproto.CmdHeartbeatResponse, cmd)
	cmd, id, payload := reply(t, c)
	assert.Equal(t, esproto.CmdWriteEventsCompleted, cmd)
	assert.Equal(t, esproto.CorrelationID{2}, id)
	assert.Equal(t, "events", payload)
}

func TestConnectionsAreNumberedAndCut(t *testing.T) {
	t.Parallel()
	numbers := make(chan int, 2)
	l := wiretest.Listen(t, func(p *wiretest.Peer) {
		numbers <- p.Number
		p.Echo()
	})
	for want := range 2 {
		c := dial(t, l)
		assert.Equal(t, want+1, <-numbers)
		l.Cut()
		_, err := c.Next()
		assert.Error(t, err)
	}
	assert.Equal(t, 2, l.Taken())
	l.Close()
	l.Close()
	_, err := net.Dial("tcp", l.Addr())
	assert.Error(t, err)
}
