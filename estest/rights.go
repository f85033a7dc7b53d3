package estest

import (
	"bytes"
	"math/rand/v2"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// WithAsyncRights makes the server check the rights of users other than administrators asynchronously, as real servers
// do from 20.6 on. A request that reads, appends, deletes, subscribes or joins a group is then served after a random
// time between d/2 and d, and later requests of its connection may overtake it:
//
//   - Replies come in another order than the requests.
//   - Pipelined appends may be written in another order.
//   - An Unsubscribe that the client sends before the confirmation finds no subscription yet: it gets no answer, and
//     the subscription stays.
//
// A write takes place even if its connection is lost meanwhile; other requests do not. Administrators, acks,
// Unsubscribe and changes of groups do not wait. By default the server checks rights at once. The option applies to all
// personas.
func WithAsyncRights(d time.Duration) Option { return func(c *config) { c.asyncRights = d } }

// maxLookups is how many requests of a connection may wait for rights at a time.
const maxLookups = 10_000

// needsLookup reports whether the rights for a request must be looked up first.
func (c *conn) needsLookup(cmd *command, f *frame) bool {
	return cmd.looksUpRights && c.srv.cfg.asyncRights > 0 && !f.user.IsAdmin() && f.user != eventlog.NoRights
}

// lookUp serves a request later.
func (c *conn) lookUp(cmd *command, f *frame) {
	if c.lookups >= maxLookups {
		c.notHandled(f.id, esproto.NotHandled_TooBusy, nil)
		return
	}
	c.lookups++
	late := *f
	late.payload = bytes.Clone(f.payload)
	d := c.srv.cfg.asyncRights
	c.srv.later(d/2+rand.N(d/2+1), func() {
		c.lookups--
		_, open := c.core.conns[c]
		defer c.hush(&late)()
		if (open || cmd.node == leaderForward) && !c.unready(cmd, &late) {
			c.perform(cmd, &late)
		}
	})
}
