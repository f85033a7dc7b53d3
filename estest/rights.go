package estest

import (
	"bytes"
	"math/rand/v2"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// WithAsyncRights has the server look up the rights of users who are no administrators beside everything else, as real
// servers do from 20.6 on: a request of theirs that reads, appends, deletes, subscribes or joins a group is served when
// half of d to d has passed, and what comes behind it on its connection may overtake it. So answers come in another
// order than the requests, pipelined appends may be written in another order, and an Unsubscribe that is sent before
// the confirmation finds no subscription yet: it gets no answer, and the subscription stays. What writes takes place
// even if its connection is lost meanwhile, other requests do not. Administrators, acks, Unsubscribe and changes of
// groups do not wait. The default is to look rights up at once; any persona does as told.
func WithAsyncRights(d time.Duration) Option { return func(c *config) { c.asyncRights = d } }

// maxLookups is how many requests of a connection may wait for rights at a time.
const maxLookups = 10_000

// needsLookup reports whether the rights for a request are not at hand.
func (c *conn) needsLookup(cmd *command, f *frame) bool {
	return cmd.looksUpRights && c.srv.cfg.asyncRights > 0 && !f.user.IsAdmin() && f.user != eventlog.Nobody
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
