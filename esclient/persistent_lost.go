package esclient

import (
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// A server that does not know yet that a connection is lost goes on to count its subscriber. What that was pushed stays
// with it, and the session on the next connection would get later events first. So the server is asked to end the lost
// session before it begins the next one. It does, whatever connection the request comes on, and delivers to the next
// session what the lost one had.

// maxLost bounds PersistentSubscription.lost. Of more the oldest are left to the server, which notices by itself.
const maxLost = 64

// lose notes a session that has ended without the server's word. p.mu is held.
func (p *PersistentSubscription) lose(s *session) {
	if len(p.lost) == maxLost {
		p.lost = slices.Delete(p.lost, 0, 1)
	}
	p.lost = append(p.lost, s.handle.ID())
}

// found forgets lost sessions that the server has ended: it has confirmed one that was asked for behind that. p.mu is
// held.
func (p *PersistentSubscription) found(ended []esproto.CorrelationID) {
	p.lost = slices.DeleteFunc(p.lost, func(id esproto.CorrelationID) bool { return slices.Contains(ended, id) })
}

// ask notes a session that was asked for. Several may be, if the server is slow.
func (p *PersistentSubscription) ask(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = slices.DeleteFunc(p.asked, func(o *session) bool { return o.ended != nil || o.open })
	if s.ended == nil && !s.open {
		p.asked = append(p.asked, s)
	}
}

// endOthers gives up what was asked for beside the session that is confirmed. The server hears of it before any ack: it
// then pushes what another one got before what comes behind that. p.mu is held.
func (p *PersistentSubscription) endOthers() {
	for _, o := range p.asked {
		o.giveUpLocked(errAnotherConfirmed)
	}
	p.asked = nil
}
