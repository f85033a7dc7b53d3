package esclient

import (
	"errors"
	"log/slog"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

const (
	// maxLooks is how often a group is looked at until a snapshot is believed that may be too early: a server drops the
	// subscribers before it has written down why, and what it tells of its log may lag behind.
	maxLooks  = 3
	lookAgain = 100 * time.Millisecond
	// checkLimit is how long a group is looked at again and again where the server does not answer.
	checkLimit = 2 * time.Second
)

// departure is how a session came to its end, and what is known of those that followed and ended unjudged.
type departure struct {
	sessions int  // that have ended since the group was judged last
	dropped  bool // the first was ended by the server, and not by a lost connection
	conn     *engine.Conn
	deleted  bool  // the server had no such group right after it had ended the first
	silent   bool  // one of the others ended before any event came
	begins   int64 // the lowest number with which the group began on the others; -1 if it did on none
}

// note returns the departure with another session that has ended.
func (d *departure) note(s *session, reason error) *departure {
	conn := s.handle.Conn()
	if d == nil {
		return &departure{sessions: 1, conn: conn, dropped: errors.Is(reason, ErrSubscriptionDropped), begins: -1}
	}
	d.sessions++
	d.silent = d.silent || s.latest < 0
	d.begins = lowestNumber(d.begins, s.begins)
	return d
}

// missed notes that the server has no such group. A node that has just begun to lead may not know its groups yet. One
// that has ended the session, and goes on with the connection, does.
func (d *departure) missed(conn *engine.Conn) {
	if d.stayed(conn) {
		d.deleted = true
	}
}

// leaderMoved reports whether the server ended the session since another node leads.
func (d *departure) leaderMoved(now *engine.Conn) bool {
	return d != nil && d.sessions == 1 && d.dropped && d.conn.Endpoint() != now.Endpoint()
}

// stayed reports whether the server ended the session and goes on with the connection: the group was changed.
func (d *departure) stayed(now *engine.Conn) bool { return d != nil && d.dropped && d.conn == now }

// tells reports whether the numbers with which the group begins may tell that it goes on: all of them are known, also
// those of sessions that ended unjudged. What came on these comes again as retries, which tell nothing.
func (d *departure) tells() bool { return d != nil && !d.deleted && !d.silent }

// lowestNumber returns the lower of two numbers, of which -1 stands for none.
func lowestNumber(a, b int64) int64 {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// begin notes that a session has begun, and has the group looked at: what was settled may be known to it or not, and
// what will be settled can be judged only by what was seen before. p.mu is held.
func (p *PersistentSubscription) begin(s *session) {
	c := check{s: s, began: time.Now()}
	if p.ledger.hasSettled() {
		before := p.known()
		s.before = &before
		p.c.goUnlessClosing(func() { p.check(c) })
		return
	}
	p.ledger.forgetNumbers() // the log may be another
	p.seen, p.departure = nil, nil
	p.position, p.lastKnown = s.position, s.last
	p.c.goUnlessClosing(func() { p.see(c) })
}

// known returns what is known of the stream. p.mu is held.
func (p *PersistentSubscription) known() knownStream {
	own := &p.ledger.own
	return knownStream{last: newestNumber(p.lastKnown, own.newest), number: own.newest, id: own.anchor}
}

// check is the course of looking at a group on a session.
type check struct {
	s     *session
	looks int
	began time.Time
}

// see takes the first snapshot of a group, with which later ones are compared.
func (p *PersistentSubscription) see(c check) {
	p.mu.Lock()
	if p.session != c.s {
		p.mu.Unlock()
		return
	}
	l := p.firstLook(c.s.handle.Conn())
	p.mu.Unlock()
	l.start(p.ctx, func() {
		p.c.goUnlessClosing(func() { p.saw(c, l.snapshot()) })
	})
}

// saw takes a first snapshot, or has another look. A server that tells nothing delays its events for checkLimit only.
func (p *PersistentSubscription) saw(c check, now *snapshot) {
	p.mu.Lock()
	if p.session != c.s || p.ended != nil {
		p.mu.Unlock()
		return
	}
	if now.complete {
		p.seen = now
	} else {
		time.AfterFunc(lookAgain, func() {
			p.c.goUnlessClosing(func() { p.see(c) })
		})
	}
	if !c.s.judged && (now.complete || time.Since(c.began) >= checkLimit) {
		p.letGo(c.s)
	}
	p.mu.Unlock()
	p.endIfDrained()
	p.prove(c.s)
}

// letGo lets what has waited for a look at the group go on. p.mu is held.
func (p *PersistentSubscription) letGo(s *session) {
	s.judged = true
	waiting := s.waiting
	s.waiting = nil
	p.admit(s, waiting, true)
	p.queue.signal()
}

// undecided reports whether events wait for a look at the group. p.mu is held.
func (p *PersistentSubscription) undecided() bool {
	return p.session != nil && len(p.session.waiting) > 0
}

func (p *PersistentSubscription) check(c check) {
	p.mu.Lock()
	if p.session != c.s {
		p.mu.Unlock()
		return
	}
	l := p.newLook(c.s.handle.Conn(), c.s.before, p.ledger.mayBeParked())
	p.mu.Unlock()
	c.looks++
	l.start(p.ctx, func() {
		p.c.goUnlessClosing(func() { p.conclude(c, l.snapshot()) })
	})
}

// conclude judges the group by what was seen of it, and lets what has waited for that go on.
func (p *PersistentSubscription) conclude(c check, now *snapshot) {
	s := c.s
	p.mu.Lock()
	if p.session != s || p.ended != nil {
		p.mu.Unlock()
		return
	}
	now.position = max(now.position, s.position)
	now.stream.known, now.stream.last = true, max(now.stream.last, s.last)
	v := compareSnapshots(p.seen, now, s.before.last, p.position)
	if c.mayBeEarly(v, now, p.departure.stayed(s.handle.Conn())) {
		p.mu.Unlock()
		time.AfterFunc(lookAgain, func() {
			p.c.goUnlessClosing(func() { p.check(c) })
		})
		return
	}
	p.follow(s, v, now)
	if now.config.known && now.config.has {
		p.pace.hear(now.config.timeout)
		p.timeOn()
	}
	p.departure = nil
	p.lastKnown = max(p.lastKnown, now.stream.last)
	p.letGo(s)
	p.mu.Unlock()
	p.endIfDrained()
	p.prove(s)
	p.logGroupState(v)
}

// mayBeEarly reports whether another look may say more. stayed is true where the server has dropped the subscription
// and goes on with the connection.
func (c *check) mayBeEarly(v groupState, now *snapshot, stayed bool) bool {
	switch {
	case v == groupUnknown && !now.complete:
		return time.Since(c.began) < checkLimit
	case c.looks >= maxLooks:
		return false
	case v == groupLogOlder:
		return now.stream.anchor != anchorOther
	}
	return stayed && v != groupMadeAnew
}

// follow does what follows from the state of the group. p.mu is held.
func (p *PersistentSubscription) follow(s *session, v groupState, now *snapshot) {
	p.ledger.foundParked(now.parked)
	switch v {
	case groupSame:
		if p.seen != nil && p.seen.unanswered {
			p.ledger.believeFrom(p.seen.doubted)
		}
		if !p.ledger.doubts() {
			p.ledger.believe()
		}
		now.fill(p.seen)
	case groupMadeAnew:
		p.ledger.forgetSettled(s)
	case groupLogOlder:
		p.ledger.forgetSettled(s)
		p.lastKnown = now.stream.last
	case groupUnknown:
		if p.departure.leaderMoved(s.handle.Conn()) {
			now.fill(p.seen)
			break
		}
		before := p.ledger.own.doubted
		p.ledger.doubt()
		if s.mayResume = p.departure.tells(); s.mayResume {
			s.began = p.departure.begins
		}
		if !now.complete && p.seen != nil {
			if !p.seen.unanswered {
				p.seen.unanswered, p.seen.doubted = true, before
			}
			return // a later snapshot may still be compared with what was seen before
		}
	}
	p.seen, p.position = now, now.position
}

func (p *PersistentSubscription) logGroupState(v groupState) {
	i := p.report.info()
	switch v {
	case groupMadeAnew:
		p.report.log(slog.LevelWarn, "the group was made anew: what was acked may be handed out again", &i)
	case groupLogOlder:
		p.report.log(slog.LevelWarn, "the log went back: what was acked may be handed out again", &i)
	case groupUnknown:
		p.report.log(slog.LevelDebug, "nothing tells whether the group was made anew", &i)
	}
}

// decide looks at the number with which the group begins on a session, or began on those that ended unjudged: in doubt
// it looks as if the group goes on behind a checkpoint, or the doubt is right, or what is in doubt does not come. p.mu
// is held.
func (p *PersistentSubscription) decide(s *session) {
	s.decided = true
	begin := lowestNumber(s.began, s.begins)
	switch {
	case !p.ledger.doubts():
	case s.mayResume && p.ledger.resumed(begin, int64(p.opts.RememberAcked)):
		p.ledger.believe()
	case begin <= p.ledger.own.doubted:
		p.ledger.forgetDoubted(s)
	}
}

// distrust forgets that an event was settled which comes again, since the group does not know of that. p.mu is held.
func (p *PersistentSubscription) distrust(s *session, o *Event) {
	if o.Stream == p.stream {
		p.ledger.forgetDoubted(s)
	} else {
		p.ledger.forgetReplayed(o)
	}
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
		again := err == nil || errors.Is(fromEngine(err), ErrOperationTimeout) // the connection lives
		s.proving = again
		p.mu.Unlock()
		if !again {
			return
		}
	}
}
