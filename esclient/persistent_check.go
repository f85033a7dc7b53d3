package esclient

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

const (
	// maxLooks is how many snapshots of a group are taken if the first ones may be too early. A server drops the
	// subscribers before it writes down the reason, and its answers about the log may lag behind.
	maxLooks  = 3
	lookAgain = 100 * time.Millisecond
	// checkLimit is how long the snapshot is repeated if the server does not answer.
	checkLimit = 2 * time.Second
)

// endedSessions describes how a session ended, and the sessions after it that ended before the group was compared.
type endedSessions struct {
	dropped bool // the server ended the first one; its connection was not lost
	conn    *engine.Conn
	deleted bool  // the server had no such group right after it ended the first one
	silent  bool  // one of the others ended before any event came, or had an unexplained retry
	begins  int64 // the lowest number with which the group began on the others; -1 for none
}

// noteEnd records that a session has ended. p.mu is held.
func (p *PersistentSubscription) noteEnd(s *session, reason error) {
	p.endedSessions = p.endedSessions.note(s, reason)
	if p.endedSessions.silent {
		p.ledger.unheard = nil // events of a new group may have been lost, and come as retries
	}
}

// note adds a session that has ended, and returns the result.
func (e *endedSessions) note(s *session, reason error) *endedSessions {
	conn := s.handle.Conn()
	if e == nil {
		return &endedSessions{conn: conn, dropped: errors.Is(reason, ErrSubscriptionDropped), begins: -1}
	}
	e.silent = e.silent || s.latest < 0 || s.unexplained
	e.begins = lowestNumber(e.begins, s.begins)
	return e
}

// missed notes that the server has no such group. This counts only if the same connection lasts: a node that has just
// become the leader may not know its groups yet.
func (e *endedSessions) missed(conn *engine.Conn) {
	if e.stayed(conn) {
		e.deleted = true
	}
}

// stayed reports whether the server ended the session but kept the connection: the group was changed.
func (e *endedSessions) stayed(now *engine.Conn) bool { return e != nil && e.dropped && e.conn == now }

// tells reports whether the first numbers of the group may show that it goes on. All of them must be known, also those
// of sessions that ended early. Events of these sessions come again as retries, which show nothing.
func (e *endedSessions) tells() bool { return e != nil && !e.deleted && !e.silent }

// lowestNumber returns the lower of two numbers. -1 stands for no number.
func lowestNumber(a, b int64) int64 {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// begin notes that a session has begun, and takes a snapshot of the group. The snapshot shows whether the group knows
// the events settled before. It is also the base for later comparisons. p.mu is held.
func (p *PersistentSubscription) begin(s *session) {
	if p.ledger.hasSettled() {
		before := p.known()
		s.before, s.looking = &before, true
		c := check{s: s, began: time.Now()}
		p.c.goUnlessClosing(func() { p.check(c) })
		return
	}
	p.ledger.forgetNumbers() // the log may be a different one
	p.seen, p.endedSessions = nil, nil
	p.position, p.lastKnown = s.position, s.last
	p.c.firstLooks.add(s)
}

// known returns the known state of the stream. p.mu is held.
func (p *PersistentSubscription) known() knownStream {
	own := &p.ledger.own
	return knownStream{last: newestNumber(p.lastKnown, own.newest), number: own.newest, id: own.anchor}
}

// check is a series of snapshots of a group on one session.
type check struct {
	s     *session
	looks int
	began time.Time
}

// firstLooks are the sessions that need a first snapshot of their group. Without an event it is not urgent. So the
// snapshots of many sessions begin together, and share a read of the configuration, which has all groups of the server.
// Otherwise each of n new groups would cost a read of n groups.
type firstLooks struct {
	client *Client

	mu  sync.Mutex
	due []*session
}

// firstLookDelay is how long a first snapshot waits for others, unless an event comes.
const firstLookDelay = 250 * time.Millisecond

func (f *firstLooks) add(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.due = append(f.due, s); len(f.due) == 1 {
		time.AfterFunc(firstLookDelay, func() { f.client.goUnlessClosing(f.begin) })
	}
}

func (f *firstLooks) begin() {
	f.mu.Lock()
	due := f.due
	f.due = nil
	f.mu.Unlock()
	for _, s := range due {
		s.p.mu.Lock()
		begins := !s.looking
		s.looking = true
		s.p.mu.Unlock()
		if begins {
			s.p.see(check{s: s, began: time.Now()})
		}
	}
}

// seeNow begins the first snapshot of a session, since an event waits for it. p.mu is held.
func (p *PersistentSubscription) seeNow(s *session) {
	if s.looking {
		return
	}
	s.looking = true
	c := check{s: s, began: time.Now()}
	p.c.goUnlessClosing(func() { p.see(c) })
}

// see takes the first snapshot of a group. Later ones are compared with it.
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

// saw keeps a first snapshot, or has it taken again. A server that does not answer delays its events for checkLimit
// only.
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
		p.admitWaiting(c.s)
	}
	p.mu.Unlock()
	p.endIfDrained()
	p.prove(c.s)
}

// admitWaiting queues the events that waited for a snapshot of the group. p.mu is held.
func (p *PersistentSubscription) admitWaiting(s *session) {
	s.judged = true
	waiting := s.waiting
	s.waiting = nil
	p.admit(s, waiting, true)
	p.queue.signal()
}

// undecided reports whether events wait for a snapshot of the group. p.mu is held.
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

// conclude compares the group with the snapshot before, and queues the events that waited for that.
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
	if c.mayBeEarly(v, now, p.endedSessions.stayed(s.handle.Conn())) {
		p.mu.Unlock()
		time.AfterFunc(lookAgain, func() {
			p.c.goUnlessClosing(func() { p.check(c) })
		})
		return
	}
	p.follow(s, v, now)
	if now.config.known && now.config.has {
		p.pushLimit.hear(now.config.timeout)
		p.timeOn()
	}
	p.endedSessions = nil
	p.lastKnown = max(p.lastKnown, now.stream.last)
	p.admitWaiting(s)
	p.mu.Unlock()
	p.endIfDrained()
	p.prove(s)
	p.logGroupState(v)
}

// mayBeEarly reports whether a later snapshot may show more. stayed means that the server has dropped the subscription
// and kept the connection.
func (c *check) mayBeEarly(v groupState, now *snapshot, stayed bool) bool {
	switch {
	case v == groupUnknown && !now.complete:
		return time.Since(c.began) < checkLimit
	case c.looks >= maxLooks:
		return false
	case v == groupLogOlder:
		return now.stream.anchor != anchorOther
	}
	return stayed && v != groupCreatedAgain
}

// follow updates the ledger for the state of the group. p.mu is held.
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
	case groupCreatedAgain:
		p.ledger.forgetSettled(s)
	case groupLogOlder:
		p.ledger.forgetSettled(s)
		p.lastKnown = now.stream.last
	case groupUnknown:
		before := p.ledger.own.doubted
		p.ledger.doubt()
		if s.mayResume = p.endedSessions.tells(); s.mayResume {
			s.began = p.endedSessions.begins
		}
		if !now.complete && p.seen != nil {
			if !p.seen.unanswered {
				p.seen.unanswered, p.seen.doubted = true, before
			}
			return // a later snapshot can still be compared with the one before
		}
	}
	p.seen, p.position = now, now.position
}

func (p *PersistentSubscription) logGroupState(v groupState) {
	i := p.report.info()
	switch v {
	case groupCreatedAgain:
		p.report.log(slog.LevelWarn, "the group was created again: acked events may be handed out again", &i)
	case groupLogOlder:
		p.report.log(slog.LevelWarn, "the log went back: acked events may be handed out again", &i)
	case groupUnknown:
		p.report.log(slog.LevelDebug, "it is unknown whether the group was created again", &i)
	}
}

// decide resolves a doubt by the lowest number with which the group begins, on this session or on earlier ones that
// ended early. If the group seems to go on after a checkpoint, the settled events count again. If it begins with a
// doubtful event, they are forgotten. p.mu is held.
func (p *PersistentSubscription) decide(s *session) {
	s.decided = true
	begin := lowestNumber(s.began, s.begins)
	switch {
	case !p.ledger.doubts():
	case s.mayResume && p.ledger.resumed(s, begin, int64(p.opts.RememberAcked)):
		p.ledger.believe()
	case begin <= p.ledger.own.doubted:
		p.ledger.forgetDoubted(s)
	}
}

// distrust forgets a settlement that the group does not know, because the event comes again. p.mu is held.
func (p *PersistentSubscription) distrust(s *session, o *Event) {
	if o.Stream == p.stream {
		p.ledger.forgetDoubted(s)
	} else {
		p.ledger.forgetReplayed(o)
	}
}

// prove finds out whether the server has read the parks that were sent on a session. p.mu is not held.
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
		proof := parkProof{s: s}
		_, err := s.handle.Conn().Do(p.ctx, &proof, p.creds)
		p.mu.Lock()
		for k, sent := range parks {
			if err == nil && !proof.late && k.session == s && k.sent == sent {
				k.arrived = true
			}
		}
		again := err == nil || errors.Is(fromEngine(err), ErrOperationTimeout) // the connection is alive
		s.proving = again
		p.queue.signal() // for Next, which makes the subscription grow
		p.mu.Unlock()
		if !again {
			return
		}
	}
}

// parkProof is a ping after parks that were sent on a session. The server reads them before it answers. But when it has
// ended the session before that, as a leader does that steps down, it ignores them.
type parkProof struct {
	pingOp
	s    *session
	late bool // the server had ended the session
}

func (o *parkProof) Decode(cmd esproto.Command, payload []byte) error {
	o.late = o.s.byServer
	return o.pingOp.Decode(cmd, payload)
}
