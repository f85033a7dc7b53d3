package engine

import (
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Unsubscribe is the request that ends a subscription. It carries the correlation id of that subscription.
type Unsubscribe struct{}

// Command implements [Request].
func (Unsubscribe) Command() esproto.Command { return esproto.CmdUnsubscribeFromStream }

// AppendPayload implements [Request].
func (Unsubscribe) AppendPayload(b []byte) []byte { return b }

// A server ignores an Unsubscribe for a subscription that it does not have. It may still create that subscription
// later, because for some users it looks up the rights first. So an Unsubscribe is no proof of the end. The Conn
// answers each further frame of an orphan, a subscription without a Receiver, with another Unsubscribe.

const (
	maxUnsubscribed  = 256         // entries of Conn.mu.unsubscribed
	unsubscribeAgain = time.Second // the least time between two Unsubscribes that answer pushes of one orphan
)

// sentUnsubscribe is the latest Unsubscribe of one subscription.
type sentUnsubscribe struct {
	at        time.Time
	confirmed bool // the server had confirmed the subscription before
}

// Unsubscribe removes the Receiver of a subscription, as [Handle.Remove] does, and makes the server end the
// subscription, even if the server confirms it later.
func (h Handle) Unsubscribe(creds *esproto.Credentials) {
	c := h.c
	if c == nil {
		return
	}
	c.mu.Lock()
	e := c.mu.receivers.get(h.seq)
	if e == nil {
		c.mu.Unlock()
		return // the subscription or the connection has ended
	}
	c.mu.receivers.remove(e)
	c.appendUnsubscribeLocked(h.seq, creds, false)
	c.unlockAndKick()
}

// EndLost makes the server end subscriptions of lost connections, by their correlation ids. The server may not have
// noticed yet that those connections are lost. Servers look for the id of an Unsubscribe on all their connections, and
// send no reply on this one. They process it before any request that is started on c later.
//
// EndLost does not wait for room in the write buffer, so the caller must bound the ids.
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
		c.appendFrameLocked(Unsubscribe{}, id, nil) // without credentials: the server would check them first
	}
	c.unlockAndKick()
}

// answerOrphan answers a frame without a Receiver with Unsubscribe, if the frame belongs to a subscription.
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
	last, found := c.mu.unsubscribed[seq]
	answer := !found || confirms && !last.confirmed || time.Since(last.at) >= unsubscribeAgain
	// If the write buffer is full, a later push is answered instead.
	if !answer || c.mu.err != nil || seq > c.mu.receivers.lastSeq || len(c.mu.pending) >= c.cfg.MaxPendingBytes {
		c.mu.Unlock()
		return
	}
	c.appendUnsubscribeLocked(seq, nil, confirms || last.confirmed)
	c.unlockAndKick()
}

// appendUnsubscribeLocked appends an Unsubscribe to the write buffer and notes it in Conn.mu.unsubscribed.
func (c *Conn) appendUnsubscribeLocked(seq uint64, creds *esproto.Credentials, confirmed bool) {
	if c.mu.unsubscribed == nil || len(c.mu.unsubscribed) >= maxUnsubscribed {
		c.mu.unsubscribed = make(map[uint64]sentUnsubscribe) // at worst the server gets some Unsubscribes twice
	}
	c.mu.unsubscribed[seq] = sentUnsubscribe{at: time.Now(), confirmed: confirmed}
	c.appendFrameLocked(Unsubscribe{}, c.correlationID(seq), creds)
}
