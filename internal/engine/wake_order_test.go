package engine

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// caller makes its next call when it is woken, in the goroutine that wakes it. So the order of calls depends on the
// Conn alone, and not on the scheduler. All callers share the round.
type caller struct {
	*ping
	round   *round
	left    int // calls to make
	endedAt int // how many calls had ended when the present one began
}

type round struct {
	conn    *Conn
	ended   int // calls of all callers
	longest int // the most calls that ended while a call waited, itself included
	calling int // callers that have calls to make
	all     chan error
}

func (c *caller) Keeps(esproto.Command, int) bool      { return false }
func (c *caller) Receive(esproto.Command, []byte) bool { return false }
func (c *caller) TooLarge(esproto.Command, error) bool { return false }
func (c *caller) Fail(err error, _ bool)               { c.round.end(err) }

func (c *caller) Wake() {
	r := c.round
	r.ended++
	r.longest = max(r.longest, r.ended-c.endedAt)
	if c.left--; c.left > 0 {
		c.endedAt = r.ended
		c.call()
	} else if r.calling--; r.calling == 0 {
		r.end(nil)
	}
}

func (c *caller) call() {
	if _, err := c.round.conn.Start(context.Background(), c.ping, nil, c); err != nil {
		c.round.end(err)
	}
}

func (r *round) end(err error) {
	select {
	case r.all <- err:
	default:
	}
}

// The peer answers in order, any number of requests at a time, and waits for the next request of each caller. Then no
// call waits for longer than one round: each other caller is answered once meanwhile. That holds for the parts in which
// the reader wakes many callers, too.
func TestNoCallIsOvertaken(t *testing.T) {
	t.Parallel()
	const callers, each = 64, 200
	c := dial(t, connConfig(), func(p *peer) {
		var waiting []frame
		for read := 0; ; {
			for ; read < callers*each && len(waiting) < callers; read++ {
				f, err := p.Next()
				if err != nil {
					return
				}
				waiting = append(waiting, f)
			}
			if len(waiting) == 0 {
				return
			}
			var replies []byte
			n := 1 + rand.IntN(len(waiting))
			for _, f := range waiting[:n] {
				replies = esproto.AppendFrame(replies, esproto.CmdPong, f.CorrelationID, f.Payload)
			}
			if _, err := p.Write(replies); err != nil {
				return
			}
			waiting = append([]frame(nil), waiting[n:]...)
		}
	})
	r := &round{conn: c, calling: callers, all: make(chan error, 1)}
	for range callers { // the peer answers none before it has all
		(&caller{ping: &ping{payload: []byte("hello")}, round: r, left: each}).call()
	}
	require.NoError(t, <-r.all)
	assert.Equal(t, callers*each, r.ended)
	assert.Equal(t, callers, r.longest)
}
