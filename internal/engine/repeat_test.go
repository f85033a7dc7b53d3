package engine

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// dialLate connects to a peer that hands over each request it gets and answers none by itself.
func dialLate(t *testing.T) (c *Conn, p *peer, asked chan frame) {
	cfg := connConfig()
	cfg.OperationTimeout = 60 * time.Millisecond
	asked = make(chan frame, 10)
	peers := make(chan *peer, 1)
	c = dial(t, cfg, func(p *peer) {
		peers <- p
		silentPeer(asked)(p)
	})
	return c, <-peers, asked
}

// repeatTwice makes an attempt that gets no reply and begins a second one. It returns both requests, and how the second
// attempt ends.
func repeatTwice(t *testing.T, c *Conn, op *ping, asked chan frame) (first, second frame, ended chan error) {
	_, err := c.Do(background(t), op, nil)
	require.ErrorIs(t, err, ErrOperationTimeout)
	first = <-asked
	ended = make(chan error, 1)
	go func() {
		_, again := c.Repeat(background(t), op, nil, err)
		ended <- again
	}()
	return first, <-asked, ended
}

func TestALateReplyAnswersTheRepetition(t *testing.T) {
	t.Parallel()
	c, p, asked := dialLate(t)
	op := &ping{payload: []byte("twice")}
	first, second, ended := repeatTwice(t, c, op, asked)
	p.Reply(first)
	require.NoError(t, <-ended)
	assert.Equal(t, "twice", string(op.back))
	op.back = nil
	p.Reply(second)
	other, err := c.Begin(background(t), &ping{payload: []byte("other")}, nil)
	require.NoError(t, err)
	p.Reply(<-asked)
	_, err = other.Wait(background(t))
	require.NoError(t, err)
	assert.Nil(t, op.back, "the other reply has no Receiver")
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.mu.repetitions) == 0
	}, 10*time.Second, time.Millisecond, "it is forgotten")
}

func TestALateRefusalDoesNotEndTheRepetition(t *testing.T) {
	t.Parallel()
	for name, cmd := range map[string]esproto.Command{
		"not handled": esproto.CmdNotHandled, "of the operation": esproto.CmdAuthenticated,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, p, asked := dialLate(t)
			op := &ping{payload: []byte("twice")}
			first, second, ended := repeatTwice(t, c, op, asked)
			p.Send(cmd, first.CorrelationID, nil)
			p.Reply(second)
			require.NoError(t, <-ended)
			assert.Equal(t, "twice", string(op.back))
		})
	}
}

func TestTheReplyToTheFirstOfManyAttemptsAnswersTheLast(t *testing.T) {
	t.Parallel()
	c, p, asked := dialLate(t)
	op := &ping{payload: []byte("often")}
	var err error
	for range 3 {
		_, err = c.Repeat(background(t), op, nil, err)
		require.ErrorIs(t, err, ErrOperationTimeout)
	}
	first := <-asked
	<-asked
	<-asked
	ended := make(chan error, 1)
	go func() {
		_, again := c.Repeat(background(t), op, nil, err)
		ended <- again
	}()
	<-asked
	p.Reply(first)
	require.NoError(t, <-ended)
}

func TestTheReplyToAGivenUpRepetitionIsDropped(t *testing.T) {
	t.Parallel()
	c, p, asked := dialLate(t)
	op := &ping{payload: []byte("twice")}
	_, err := c.Do(background(t), op, nil)
	require.ErrorIs(t, err, ErrOperationTimeout)
	ctx, cancel := context.WithCancel(background(t))
	ended := make(chan error, 1)
	go func() {
		_, again := c.Repeat(ctx, op, nil, err)
		ended <- again
	}()
	first := <-asked
	<-asked
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	p.Reply(first)
	begun, err := c.Begin(background(t), &ping{}, nil)
	require.NoError(t, err)
	p.Reply(<-asked)
	_, err = begun.Wait(background(t))
	require.NoError(t, err)
	assert.Nil(t, op.back)
}
