package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// pinged answers calls until the next frame is something else, which it returns.
func pinged(p *peer) frame {
	for {
		f, err := p.Next()
		if err != nil {
			return frame{}
		}
		if f.Command != esproto.CmdPing {
			return f
		}
		p.Reply(f)
	}
}

// givenUp returns a connection with a subscription that was given up. serve plays the peer from then on.
func givenUp(t *testing.T, serve func(p *peer, subscription esproto.CorrelationID)) *Conn {
	c := dial(t, connConfig(), func(p *peer) {
		subscribed, err := p.Next()
		assert.NoError(t, err)
		unsubscribed, err := p.Next()
		assert.NoError(t, err)
		assert.Equal(t, esproto.CmdUnsubscribeFromStream, unsubscribed.Command)
		assert.Equal(t, subscribed.CorrelationID, unsubscribed.CorrelationID)
		serve(p, subscribed.CorrelationID)
		assert.Zero(t, pinged(p).Command, "a frame too many")
	})
	var h Handle
	require.NoError(t, c.StartSubscription(background(t), &ping{}, nil, newProbe(), func(got Handle) { h = got }))
	h.Unsubscribe(nil)
	h.Unsubscribe(nil) // again
	return c
}

func TestPushesWithoutAReceiverAreUnsubscribed(t *testing.T) {
	for _, tc := range []struct{ confirmation, push esproto.Command }{
		{esproto.CmdSubscriptionConfirmation, esproto.CmdStreamEventAppeared},
		{esproto.CmdSubscriptionConfirmation, esproto.CmdCheckpointReached},
		{esproto.CmdPersistentSubscriptionConfirmation, esproto.CmdPersistentSubscriptionStreamEventAppeared},
	} {
		t.Run(tc.push.String(), func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			c := givenUp(t, func(p *peer, id esproto.CorrelationID) {
				defer close(done)
				push := func() { p.Send(tc.push, id, make([]byte, 100)) }
				for range 1000 { // on their way when it was given up
					push()
				}
				p.Send(tc.confirmation, id, nil) // the Unsubscribe came to nothing
				f := pinged(p)
				assert.Equal(t, esproto.CmdUnsubscribeFromStream, f.Command)
				assert.Equal(t, id, f.CorrelationID)
				for range 1000 {
					push()
				}
				p.Send(tc.confirmation, id, nil)
				time.Sleep(unsubscribeAgain)
				push() // all that came to nothing, too
				f = pinged(p)
				assert.Equal(t, esproto.CmdUnsubscribeFromStream, f.Command)
				p.Send(esproto.CmdSubscriptionDropped, id, nil)
			})
			<-done
			_, err := c.Do(background(t), &ping{}, nil)
			require.NoError(t, err)
			c.mu.Lock()
			defer c.mu.Unlock()
			assert.Empty(t, c.mu.unsubscribed, "the server has said that it is over")
		})
	}
}

func TestManySubscriptionsWithoutAReceiver(t *testing.T) {
	removed, done := make(chan struct{}), make(chan struct{})
	c := dial(t, connConfig(), func(p *peer) {
		defer close(done)
		var ids []esproto.CorrelationID
		for range 2 * maxUnsubscribed {
			f, err := p.Next()
			if !assert.NoError(t, err) {
				return
			}
			ids = append(ids, f.CorrelationID)
		}
		<-removed
		for _, id := range ids {
			p.Send(esproto.CmdStreamEventAppeared, id, nil)
		}
		for range 2 * maxUnsubscribed {
			assert.Equal(t, esproto.CmdUnsubscribeFromStream, pinged(p).Command)
		}
	})
	for range 2 * maxUnsubscribed {
		var h Handle
		require.NoError(t, c.StartSubscription(background(t), &ping{}, nil, newProbe(), func(got Handle) { h = got }))
		h.Remove()
	}
	close(removed)
	<-done
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.LessOrEqual(t, len(c.mu.unsubscribed), maxUnsubscribed)
}

func TestFramesOfNoSubscriptionAreNotAnswered(t *testing.T) {
	done := make(chan struct{})
	givenUp(t, func(p *peer, id esproto.CorrelationID) {
		defer close(done)
		other := id
		other[15]++ // a number that was never given out
		p.Send(esproto.CmdStreamEventAppeared, other, nil)
		p.Send(esproto.CmdNotHandled, id, nil)
		p.Send(esproto.CmdPong, id, nil)
		p.Send(esproto.CmdSubscriptionDropped, id, nil)
		p.Send(esproto.CmdSubscriptionConfirmation, id, nil) // as if it had begun again
		assert.Equal(t, esproto.CmdUnsubscribeFromStream, pinged(p).Command)
	})
	<-done
}
