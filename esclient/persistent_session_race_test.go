package esclient

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// sessions returns a way to begin sessions of one subscription on a connection, and the commands to end them that the
// other end of that gets.
func sessions(t *testing.T) (p *PersistentSubscription, begin func() *session, got func() esproto.Command) {
	t.Helper()
	c, err := New(Config{Address: "127.0.0.1:1"})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	near, far := net.Pipe()
	conn := engine.NewConn(near, "test", engine.ConnConfig{MaxFrameSize: 1 << 20, MaxPendingBytes: 1 << 20,
		WriteTimeout: time.Minute})
	t.Cleanup(func() { conn.Close(ErrClosed) })
	commands := make(chan esproto.Command, 100)
	go func() {
		defer close(commands)
		for peer := wiretest.NewPeer(far); ; {
			f, err := peer.Next()
			if err != nil {
				return
			}
			if f.Command == esproto.CmdUnsubscribeFromStream {
				commands <- f.Command
			}
		}
	}()
	opts := PersistentOptions{}
	opts.setDefaults(c.cfg)
	p = &PersistentSubscription{
		c: c, stream: "s", group: "g", opts: opts, closed: make(chan struct{}), report: reporter{c: c, hooks: &c.hooks},
		ctx: context.Background(), cancel: func(error) {},
	}
	p.queue.init(10)
	return p, func() *session {
			s := newSession(p, make(chan struct{}, 1))
			err := conn.StartSubscription(context.Background(), s, nil, s, func(h engine.Handle) { s.handle = h })
			require.NoError(t, err)
			p.ask(s)
			return s
		}, func() esproto.Command {
			select {
			case cmd := <-commands:
				return cmd
			case <-time.After(10 * time.Second):
				return 0
			}
		}
}

// A confirmation comes while the client gives the session up. Either the session is confirmed, and the client makes no
// other one, or it is over, and the client unsubscribes after the confirmation.
func TestASessionIsConfirmedOrGivenUp(t *testing.T) {
	confirmation, err := proto.Marshal(
		&esproto.PersistentSubscriptionConfirmation{SubscriptionId: proto.String("s::g")})
	require.NoError(t, err)

	t.Run("confirmed first", func(t *testing.T) {
		p, begin, _ := sessions(t)
		s := begin()
		require.NoError(t, s.confirm(confirmation))
		assert.True(t, s.giveUp(ErrOperationTimeout))
		settled, err := s.outcome()
		assert.True(t, settled)
		require.NoError(t, err)
		assert.Same(t, s, p.session, "it goes on")
		require.NoError(t, s.ended)
	})
	t.Run("given up first", func(t *testing.T) {
		p, begin, got := sessions(t)
		s := begin()
		assert.False(t, s.giveUp(ErrOperationTimeout))
		assert.Equal(t, esproto.CmdUnsubscribeFromStream, got())
		require.NoError(t, s.confirm(confirmation), "the reader had it in its hands")
		assert.Equal(t, esproto.CmdUnsubscribeFromStream, got(), "again, now that there is something to end")
		assert.Nil(t, p.session)
		_, err := s.outcome()
		assert.ErrorIs(t, err, ErrOperationTimeout)
	})
	t.Run("two are confirmed", func(t *testing.T) {
		p, begin, got := sessions(t)
		first, second := begin(), begin()
		require.NoError(t, first.confirm(confirmation))
		assert.Equal(t, esproto.CmdUnsubscribeFromStream, got(), "before any ack of the first can be sent")
		_, err := second.outcome()
		require.ErrorIs(t, err, errAnotherConfirmed)
		require.NoError(t, second.confirm(confirmation), "the reader had it in its hands")
		assert.Equal(t, esproto.CmdUnsubscribeFromStream, got(), "again, now that there is something to end")
		assert.Same(t, first, p.session)
	})
}
