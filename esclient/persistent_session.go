package esclient

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// session is the part of a PersistentSubscription on one connection, from ConnectToPersistentSubscription on. Its mu is
// that of the subscription.
type session struct {
	connSubscription
	p      *PersistentSubscription
	window int                     // how many events the server may push ahead
	ends   []esproto.CorrelationID // of lost sessions that the server must end before it begins this one
	gone   chan struct{}           // closed when the session ends

	// The reader owns these, from the frame that ends the session to Wake.
	reason   error // why it ends
	byServer bool  // the server has ended it

	// Guarded by p.mu.
	id       string // <stream>::<group>, the server's name for it
	position int64  // the end of the log when the session began
	last     int64  // the number of the stream's last event at that time; -1 for none
	slots    slots
	proving  bool // a goroutine waits for proof that the parks have arrived

	// Settlements of other sessions count only if the group is still the same.
	looking     bool         // a snapshot of the group was begun
	judged      bool         // that is decided; events that depend on it wait until then
	waiting     []*Event     // these events, and all after them
	waitingSize int64        // their bytes
	before      *knownStream // the state of the stream when the session began; nil if there is nothing to compare
	mayResume   bool         // in doubt: the group may go on after a checkpoint
	began       int64        // the number with which the group began on earlier sessions that ended early; -1 for none
	decided     bool         // the first number of the group was seen
	begins      int64        // the number of the first event that was not delivered before; -1 for none
	unexplained bool         // an unexplained retry came before the group was compared; see explains
	latest      int64        // the highest number of an event that has come; -1 for none
}

func newSession(p *PersistentSubscription, told chan struct{}) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &session{
		p: p, window: p.pushLimit.window, ends: slices.Clone(p.lost), gone: make(chan struct{}),
		began: -1, begins: -1, latest: -1,
	}
	s.owner, s.mu, s.creds, s.told = s, &p.mu, p.creds, told
	return s
}

func (s *session) Command() esproto.Command { return esproto.CmdConnectToPersistentSubscription }

func (s *session) about() (stream, group string) { return s.p.stream, s.p.group }

func (s *session) AppendPayload(b []byte) []byte {
	return appendMessage(b, &esproto.ConnectToPersistentSubscription{
		SubscriptionId:          proto.String(s.p.group),
		EventStreamId:           proto.String(s.p.stream),
		AllowedInFlightMessages: proto.Int32(int32(s.window)),
	})
}

func (s *session) Keeps(cmd esproto.Command, n int) bool {
	return cmd == esproto.CmdPersistentSubscriptionStreamEventAppeared && keepsPayload(n)
}

func (s *session) Receive(cmd esproto.Command, payload []byte) (more bool) {
	var err error
	byServer := false
	switch cmd {
	case esproto.CmdPersistentSubscriptionStreamEventAppeared:
		err = s.deliver(payload)
	case esproto.CmdPersistentSubscriptionConfirmation:
		err = s.confirm(payload)
	default:
		err, byServer = s.endOf(cmd, payload), true
	}
	if err == nil {
		return true
	}
	s.reason, s.byServer = err, byServer
	if !byServer {
		s.unsubscribe()
	}
	return false
}

func (s *session) confirm(payload []byte) error {
	var m esproto.PersistentSubscriptionConfirmation
	if err := s.decode(esproto.CmdPersistentSubscriptionConfirmation, payload, &m); err != nil {
		return err
	}
	if m.GetLastEventNumber() == esproto.DeletedStream {
		return ErrStreamDeleted
	}
	s.join(&m)
	return nil
}

// join makes the session the current one of the subscription.
func (s *session) join(m *esproto.PersistentSubscriptionConfirmation) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil || s.ended != nil || p.session != nil {
		s.unsubscribeAgain()
		return
	}
	p.away = false
	s.confirmLocked()
	s.id, p.session = m.GetSubscriptionId(), s
	p.found(s.ends)
	p.endOthers()
	s.position, s.last = m.GetLastCommitPosition(), m.GetLastEventNumber()
	p.begin(s)
	p.report.confirmed(s.handle.Conn().Endpoint())
}

// deliver takes a pushed event.
func (s *session) deliver(payload []byte) error {
	var v esproto.EventView
	retries, err := esproto.DecodePersistentEvent(payload, &v)
	if err != nil {
		return unexpected(s, esproto.CmdPersistentSubscriptionStreamEventAppeared, err)
	}
	e := s.newEvent(&v, len(payload), UnknownPosition)
	e.markUnresolvedOf(s.p.stream, s.p.opts.ResolveLinks)
	e.RetryCount = retries
	s.came = append(s.came, e)
	return nil
}

// TooLarge implements engine.Receiver. The id of an event that is too large is unknown, so the client cannot nack it.
// It stays with the server until its message timeout. The server delivers it again, and parks it in the end.
func (s *session) TooLarge(cmd esproto.Command, err error) (more bool) {
	err = fromEngine(err)
	if cmd == esproto.CmdPersistentSubscriptionStreamEventAppeared {
		s.p.leaveOut(err)
		return true
	}
	s.close(err)
	return false
}

// Wake implements engine.Receiver: events that came together go to the consumer at once.
func (s *session) Wake() {
	if s.reason != nil {
		// Not earlier: a hook that closes the client for this error must still get the replies that came with it.
		s.finish(s.reason, s.byServer)
	}
	if len(s.came) > 0 {
		s.admit()
		s.forget()
	}
	s.p.queue.signal()
}

// admit queues the events that have come.
func (s *session) admit() {
	p := s.p
	p.mu.Lock()
	again := false
	if p.session == s && p.ended == nil {
		p.seeNow(s)
		s.slots.pushed += len(s.came)
		p.pushLimit.pushed(s.slots.pushed - s.slots.freed)
		again = p.admit(s, s.came, !p.draining)
	}
	p.mu.Unlock()
	if again {
		p.prove(s)
	}
}

// admit queues events that came on a session, in place. It does not queue events that the consumer holds or has
// settled. Until the group is compared, all others wait. wanted is false after Drain: then new events go back to the
// server, and only those that may have to be settled again wait. It reports whether any event was settled again. p.mu
// is held.
func (p *PersistentSubscription) admit(s *session, events []*Event, wanted bool) (again bool) {
	fresh, now := events[:0], p.now()
	var tooMany []*Event
	large := false
	for _, e := range events {
		o := e.Original()
		if o.Stream == p.stream {
			s.latest = max(s.latest, o.Number)
			if s.begins < 0 && e.RetryCount == 0 {
				s.begins = o.Number
			}
		}
		// Retries before the first new event may show that the group is another one; see explains.
		if s.judged && !s.decided && (s.begins >= 0 && e.RetryCount == 0 || s.began >= 0) {
			p.decide(s)
		}
		known := p.ledger.of(o)
		if !s.judged && known == settled && !p.explains(s, o, e.RetryCount) {
			s.unexplained = true
		}
		if !s.judged && known != held {
			// If this is another group, the event might be settled before that is known, and then handed out again.
			if wanted || known == settled {
				if large = large || p.pushLimit.overflows(s.waitingSize, e, int(p.ledger.begun)); large || !s.wait(e) {
					tooMany = append(tooMany, e)
				}
			}
			continue
		}
		if known == settled && !p.ledger.believes(o, e.RetryCount) {
			p.distrust(s, o)
			known = unknown
		}
		p.ledger.came(o)
		switch known {
		case held:
			p.cameAgain(s, o, now)
		case settled:
			p.settleAgain(o, e.RetryCount)
			again = true
		default:
			if !wanted {
				continue
			}
			large = large || p.pushLimit.overflows(p.ledger.bytes, e, int(p.ledger.begun))
			if large || p.queue.len()+len(fresh) >= p.queue.capacity() {
				tooMany = append(tooMany, e)
				continue
			}
			p.pushLimit.sized(p.ledger.hold(e, s, now).weight)
			fresh = append(fresh, e)
		}
	}
	p.queue.push(fresh)
	switch {
	case large:
		p.giveBackLarge(tooMany)
	case len(tooMany) > 0:
		p.giveBack(ErrSlowConsumer, tooMany)
	case len(fresh) > 0:
		p.watchWaiting()
	}
	return again
}

// explains reports whether the server may deliver a settled event of the old group. A retry needs a reason: the server
// may not know of the settlement, or it has delivered the event on a session that ended before the group was compared.
// Other retries show a new group, whose events were lost. p.mu is held.
func (p *PersistentSubscription) explains(s *session, o *Event, retries int32) bool {
	begun := s.begins >= 0 || p.endedSessions != nil && p.endedSessions.begins >= 0
	return retries == 0 || o.Stream != p.stream || begun || p.ledger.unheard[o.Number]
}

// wait keeps an event until the group is compared. It returns false if there is no room.
func (s *session) wait(e *Event) bool {
	if s.p.queue.len()+len(s.waiting) >= s.p.queue.capacity() {
		return false
	}
	s.waiting = append(s.waiting, e)
	s.waitingSize += weight(e)
	return true
}

// Fail implements engine.Receiver.
func (s *session) Fail(err error, _ bool) { s.finish(fromEngine(err), false) }

// finish ends the session. If it was the current one, another one follows. The subscription forgets the events of the
// session that Next has not returned: the server delivers them again, perhaps to another subscriber.
func (s *session) finish(reason error, byServer bool) {
	p := s.p
	p.mu.Lock()
	if !s.endLocked(reason, byServer) {
		p.mu.Unlock()
		return
	}
	current := p.session == s
	if current {
		p.leave(s)
		p.unrepeated = 0
		if !byServer {
			p.pushLimit.restart()
			p.timeOn()
		}
		if errors.Is(reason, ErrSubscriptionDropped) {
			p.pushLimit.doubt()
			p.timeOn()
		}
		p.noteEnd(s, reason)
	}
	if !current && errors.Is(reason, ErrGroupNotFound) {
		p.endedSessions.missed(s.handle.Conn())
	}
	over := !current || p.ended != nil
	p.mu.Unlock()
	if !over {
		p.resume(reason)
	}
}

// ending implements connSubscriber.
func (s *session) ending(byServer bool) {
	close(s.gone)
	if byServer {
		return
	}
	s.p.lose(s)
	if !s.open {
		s.p.ledger.unheard = nil // a new group may have pushed events on it, which come as retries
	}
}

// close implements unconfirmed.
func (s *session) close(reason error) {
	s.unsubscribe()
	s.finish(reason, false)
}

// unsubscribe ends the session, and has another one follow with the window of the push limit. The server takes back the
// events in flight. Unlike a nack or a timeout, this never parks an event. If the consumer has begun with an event, the
// subscription recognises it when it comes again. p.mu is held.
func (p *PersistentSubscription) unsubscribe(reason error, more []*Event, rest time.Duration) {
	s := p.session
	if s == nil || p.ended != nil {
		return
	}
	p.flush()
	s.handle.Post(engine.Unsubscribe{}, p.creds)
	back := append(p.leave(s), more...)
	p.away = true
	p.noteEnd(s, reason)
	select {
	case <-p.progress: // an old token
	default:
	}
	p.c.goUnlessClosing(func() { p.comeBack(s, reason, back, rest) }) // otherwise Close ends it
}

// leave forgets a session, and those of its events that the consumer has not begun with: the server delivers them
// again, perhaps to another subscriber. p.mu is held.
func (p *PersistentSubscription) leave(s *session) (back []*Event) {
	p.session = nil
	p.acks = p.acks[:0] // the ledger keeps them
	p.ledger.over(s)
	back = p.queue.drain()
	if p.opts.Concurrency > 0 {
		back = back[:0]
		for f := range p.ledger.waiting {
			back = append(back, f.e)
		}
		close(p.revoked)
		p.revoked = make(chan struct{})
	}
	for _, e := range back {
		if f := p.ledger.flight(e.Original()); f != nil {
			p.ledger.release(f)
		}
	}
	back, s.waiting = append(back, s.waiting...), nil
	p.queue.signal() // for Next, which may wait for these events
	return back
}

// leaveOut reports an event that cannot be received because of err. The reader must not call hooks, so another
// goroutine does.
func (p *PersistentSubscription) leaveOut(err error) {
	p.c.goUnlessClosing(func() { p.report.leftOut(err) })
}
