package esclient

import (
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// A server that does not know yet that a connection is lost still counts its subscriber. That subscriber keeps its
// events, and the session on the next connection would get later events first. So the client makes the server end the
// lost session before the next one begins. The server accepts this on any connection, and delivers the events of the
// lost session to the next one.

// maxLost bounds PersistentSubscription.lost. The oldest sessions beyond it end when the server notices.
const maxLost = 64

// lose notes a session that has ended without a reply of the server. p.mu is held.
func (p *PersistentSubscription) lose(s *session) {
	if len(p.lost) == maxLost {
		p.lost = slices.Delete(p.lost, 0, 1)
	}
	p.lost = append(p.lost, s.handle.ID())
}

// found forgets lost sessions that the server has ended: it has confirmed a session that was requested after them. p.mu
// is held.
func (p *PersistentSubscription) found(ended []esproto.CorrelationID) {
	p.lost = slices.DeleteFunc(p.lost, func(id esproto.CorrelationID) bool { return slices.Contains(ended, id) })
}

// ask notes a session that was requested. There may be several if the server is slow.
func (p *PersistentSubscription) ask(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = slices.DeleteFunc(p.asked, func(o *session) bool { return o.ended != nil || o.open })
	if s.ended == nil && !s.open {
		p.asked = append(p.asked, s)
	}
}

// endOthers ends the other sessions that were requested, after one is confirmed. The server reads this before any ack.
// So it pushes the events of the other sessions before later ones. p.mu is held.
func (p *PersistentSubscription) endOthers() {
	for _, o := range p.asked {
		o.giveUpLocked(errAnotherConfirmed)
	}
	p.asked = nil
}
