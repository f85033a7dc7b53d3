package esclient

import (
	"errors"
	"log/slog"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

const (
	// maxLooks is how often a group is looked at until a sight is believed that may be too early: a server drops the
	// subscribers before it has written down why, and what it tells of its log may lag behind.
	maxLooks  = 3
	lookAgain = 100 * time.Millisecond
)

// departure is how a session came to its end.
type departure struct {
	sessions int  // that have ended since the group was judged last
	dropped  bool // the first was ended by the server, and not by a lost connection
	conn     *engine.Conn
}

func (d *departure) note(conn *engine.Conn, reason error) {
	if d.sessions++; d.sessions == 1 {
		d.conn, d.dropped = conn, errors.Is(reason, ErrSubscriptionDropped)
	}
}

// leaderMoved reports whether the server ended the session since another node leads.
func (d *departure) leaderMoved(now *engine.Conn) bool {
	return d.sessions == 1 && d.dropped && d.conn.Endpoint() != now.Endpoint()
}

// stayed reports whether the server ended the session and goes on with the connection: the group was changed.
func (d *departure) stayed(now *engine.Conn) bool { return d.dropped && d.conn == now }

// begin notes that a session has begun, and reports whether the group has to be judged before what was settled can be
// taken for known to it. p.mu is held.
func (p *PersistentSubscription) begin(s *session) (check bool) {
	if p.ledger.hasSettled() {
		return true
	}
	p.ledger.forgetSettled() // nor is anything known of the stream
	s.judged, p.seen, p.departure = true, nil, departure{}
	p.position, p.lastKnown = s.position, s.last
	return false
}

// seeAfter is after how many calls that settle events the group is seen at the latest. Usually that follows the first
// acks, when they have been sent.
const seeAfter = 64

// seeOnce has the group seen, if it was not yet and anything was settled. p.mu is held.
func (p *PersistentSubscription) seeOnce() {
	if s := p.session; s != nil && p.seen == nil && !p.looking && s.judged && p.unseen > 0 {
		p.looking = p.c.goUnlessClosing(func() { p.see(s) })
	}
}

// see takes the first sight of a group, with which later ones are compared.
func (p *PersistentSubscription) see(s *session) {
	p.mu.Lock()
	if p.session != s {
		p.looking = false
		p.mu.Unlock()
		return
	}
	l := p.firstLook(s.handle.Conn())
	p.mu.Unlock()
	l.start(p.ctx, func() {
		p.c.goUnlessClosing(func() {
			now := l.sight()
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.looking = false; p.session == s && p.seen == nil {
				p.unseen = 0
				p.seen, p.position = now, max(p.position, now.position)
			}
		})
	})
}

// check looks whether the group is the one that it was, for the nth time.
func (p *PersistentSubscription) check(s *session, n int) {
	p.mu.Lock()
	if p.session != s {
		p.mu.Unlock()
		return
	}
	l := p.newLook(s.handle.Conn(), p.ledger.mayBeParked())
	p.mu.Unlock()
	l.start(p.ctx, func() {
		p.c.goUnlessClosing(func() { p.conclude(s, l.sight(), n) })
	})
}

// conclude judges the group by what was seen of it, and lets what has waited for that go on.
func (p *PersistentSubscription) conclude(s *session, now *sight, n int) {
	p.mu.Lock()
	if p.session != s || p.ended != nil {
		p.mu.Unlock()
		return
	}
	now.position = max(now.position, s.position)
	now.stream.known, now.stream.last = true, max(now.stream.last, s.last)
	v := judge(p.seen, now, newestNumber(p.lastKnown, p.ledger.own.newest), p.position)
	if n+1 < maxLooks && p.mayBeEarly(s, v, now) {
		p.mu.Unlock()
		time.AfterFunc(lookAgain, func() {
			p.c.goUnlessClosing(func() { p.check(s, n+1) })
		})
		return
	}
	p.obey(s, v, now)
	if now.config.known && now.config.has {
		p.pace.hear(now.config.timeout)
		p.timePushes()
	}
	p.seen, p.position, p.departure = now, now.position, departure{}
	p.lastKnown = max(p.lastKnown, now.stream.last)
	s.judged = true
	waiting := s.waiting
	s.waiting = nil
	p.admit(s, waiting)
	p.mu.Unlock()
	p.queue.signal()
	p.prove(s)
	p.tellVerdict(v)
}

func (p *PersistentSubscription) mayBeEarly(s *session, v verdict, now *sight) bool {
	switch v {
	case verdictOlder:
		return now.stream.anchor != anchorOther
	case verdictSame, verdictUnknown:
		return p.departure.stayed(s.handle.Conn())
	}
	return false
}

// obey does with the ledger what follows from a verdict. p.mu is held.
func (p *PersistentSubscription) obey(s *session, v verdict, now *sight) {
	p.ledger.foundParked(now.parked)
	switch v {
	case verdictAnew:
		p.ledger.forgetSettled()
	case verdictOlder:
		p.ledger.forgetSettled()
		p.lastKnown = now.stream.last
	case verdictUnknown:
		if p.departure.leaderMoved(s.handle.Conn()) {
			return
		}
		p.ledger.doubt()
		s.mayResume = !p.departure.stayed(s.handle.Conn())
	}
}

func (p *PersistentSubscription) tellVerdict(v verdict) {
	i := p.witness.info()
	switch v {
	case verdictAnew:
		p.witness.log(slog.LevelWarn, "the group was made anew: what was acked may be handed out again", &i)
	case verdictOlder:
		p.witness.log(slog.LevelWarn, "the log went back: what was acked may be handed out again", &i)
	case verdictUnknown:
		p.witness.log(slog.LevelDebug, "nothing tells whether the group was made anew", &i)
	}
}

// knownToGroup reports whether the group still knows that a settled event which comes again was settled, or at least
// that it was handed out. In doubt the number with which the group begins decides. p.mu is held.
func (p *PersistentSubscription) knownToGroup(s *session, o *Event, retries int) bool {
	if p.ledger.believes(o, retries) {
		return true
	}
	if o.Stream != p.stream || !s.mayResume || !p.ledger.resumed(s.begins, int64(p.opts.RememberAcked)) {
		return false
	}
	p.ledger.believe()
	return true
}

// current returns the session, nil while there is none.
func (p *PersistentSubscription) current() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

// prove has the server tell that it has read the parks that were sent on a session: it answers a ping after them.
func (p *PersistentSubscription) prove(s *session) {
	p.mu.Lock()
	start := s != nil && p.session == s && !s.proving && len(p.ledger.onTheWay(s)) > 0
	if start {
		s.proving = true
	}
	p.mu.Unlock()
	if start {
		p.c.goUnlessClosing(func() { p.proveAll(s) })
	}
}

func (p *PersistentSubscription) proveAll(s *session) {
	for {
		p.mu.Lock()
		parks := p.ledger.onTheWay(s)
		if p.session != s || len(parks) == 0 {
			s.proving = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		_, err := s.handle.Conn().Do(p.ctx, pingOp{}, p.creds)
		p.mu.Lock()
		for k, sent := range parks {
			k.arrived = k.arrived || err == nil && k.session == s && k.sent == sent
		}
		s.proving = err == nil
		p.mu.Unlock()
		if err != nil {
			return // with the connection, or the next park asks again
		}
	}
}
