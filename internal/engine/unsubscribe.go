package engine

import (
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Unsubscribe is the request that ends the subscription on whose correlation id it is sent.
type Unsubscribe struct{}

// Command implements Request.
func (Unsubscribe) Command() esproto.Command { return esproto.CmdUnsubscribeFromStream }

// AppendPayload implements Request.
func (Unsubscribe) AppendPayload(b []byte) []byte { return b }

// A server answers an Unsubscribe that it does not know the subscription of with nothing: it may still be about to make
// it, since it looks up the rights of some users first. So a subscription that nobody has any more is over only when
// the server says nothing more of it. Its confirmation, and what is pushed for it, is answered with Unsubscribe.

const (
	maxUnsubscribed  = 256         // how many subscriptions are remembered
	unsubscribeAgain = time.Second // a push of the same subscription is answered again after that
)

// sentUnsubscribe is what the server was told of a subscription that nobody has.
type sentUnsubscribe struct {
	at        time.Time
	confirmed bool // ... when it had confirmed the subscription
}

// Unsubscribe forgets the Receiver of a subscription, as Remove does, and has the server end it, whether it has
// confirmed it yet or not.
func (h Handle) Unsubscribe(creds *esproto.Credentials) {
	c := h.c
	if c == nil {
		return
	}
	c.mu.Lock()
	e := c.mu.receivers.get(h.seq)
	if e == nil {
		c.mu.Unlock()
		return // the server has ended it, or the connection has
	}
	c.mu.receivers.remove(e)
	c.appendUnsubscribeLocked(h.seq, creds, false)
	c.unlockAndKick()
}

// EndLost has the server end subscriptions of connections that were lost, by their correlation ids: it may take those
// connections for alive. Servers look for an id on all of their connections, and send nothing about it on this one.
// They see to it before what is started on c afterwards. It does not wait for room in the write buffer, so the caller
// must bound the ids.
func (c *Conn) EndLost(ids []esproto.CorrelationID) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	for _, id := range ids {
		c.appendFrameLocked(Unsubscribe{}, id, nil) // without credentials, which might have to be looked up first
	}
	c.unlockAndKick()
}

// answerOrphan answers a frame that nobody waits for, if it shows a subscription.
func (c *Conn) answerOrphan(cmd esproto.Command, seq uint64) {
	confirms := false
	switch cmd {
	case esproto.CmdSubscriptionConfirmation, esproto.CmdPersistentSubscriptionConfirmation:
		confirms = true
	case esproto.CmdStreamEventAppeared, esproto.CmdPersistentSubscriptionStreamEventAppeared,
		esproto.CmdCheckpointReached:
	case esproto.CmdSubscriptionDropped:
		c.mu.Lock()
		delete(c.mu.unsubscribed, seq)
		c.mu.Unlock()
		return
	default:
		return
	}
	c.mu.Lock()
	last, told := c.mu.unsubscribed[seq]
	news := !told || confirms && !last.confirmed || time.Since(last.at) >= unsubscribeAgain
	// Where the peer does not read, what it pushes next will do.
	if !news || c.mu.err != nil || seq > c.mu.receivers.lastSeq || len(c.mu.pending) >= c.cfg.MaxPendingBytes {
		c.mu.Unlock()
		return
	}
	c.appendUnsubscribeLocked(seq, nil, confirms || last.confirmed)
	c.unlockAndKick()
}

// appendUnsubscribeLocked appends an Unsubscribe and remembers it.
func (c *Conn) appendUnsubscribeLocked(seq uint64, creds *esproto.Credentials, confirmed bool) {
	if c.mu.unsubscribed == nil || len(c.mu.unsubscribed) >= maxUnsubscribed {
		c.mu.unsubscribed = make(map[uint64]sentUnsubscribe) // at worst a subscription is ended twice
	}
	c.mu.unsubscribed[seq] = sentUnsubscribe{at: time.Now(), confirmed: confirmed}
	c.appendFrameLocked(Unsubscribe{}, c.correlationID(seq), creds)
}
