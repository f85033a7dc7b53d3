package esclient

import (
	"math"
	"time"

	"github.com/google/uuid"
)

// settlement is what the consumer said of an event. It does not change.
type settlement struct {
	nack   bool
	action NackAction
	reason string
}

var acked = &settlement{}

// standing is what the ledger knows of an event.
type standing int

const (
	unknown standing = iota
	held             // it is queued or handed out
	settled
)

// maxUntold bounds ledger.untold.
const maxUntold = 1 << 16

// ledger knows which events of a group are held, and which were settled. Acks and nacks have no reply: one that was
// sent just before the connection was lost, or that a server had not checkpointed when it was restarted, has to be sent
// again when the event comes again.
//
// Events go by stream and number: that of the group, or, for an event that was parked and is replayed, that of the
// entry in the parked stream. What is settled takes memory by its gaps and not by its length. Most events have numbers
// that were not seen before, so nothing is looked up among the settled ones until a number comes again.
type ledger struct {
	stream   string // of the group
	limit    int32  // of the parks
	own      book
	replayed map[string]*book // by stream
	holding  int32
	begun    int32          // how many of them the consumer has begun with
	untold   map[int64]bool // numbers of settled events of which the server may not have heard; kept while in doubt
}

// book is what the ledger knows of the events of one stream.
type book struct {
	held    flights
	newest  int64     // the highest number that was ever held; -1 for none
	anchor  uuid.UUID // the id of the event of that number
	settled numbers
	doubted int64           // up to here it is not certain that the group knows what was settled; -1 for nowhere
	parks   map[int64]*park // of what is settled

	// What the group has pushed since it began, as far as is known.
	lowest int64 // the lowest number; -1 for none
	next   int64 // the number behind the highest; -1 for none
	jumped bool  // it has passed over numbers: others get a part of the events
}

// heldEvent names an event in its stream. A log that was replaced by another may have another event of its number.
type heldEvent struct {
	number int64
	id     uuid.UUID
}

// stale stands for the sessions of a group that was made anew since. What is said of an event that came on them does
// not count for the new group, unless that has pushed the event as well.
var stale = new(session)

// park is a nack that parks an event. Repeated in vain it parks the event twice, so it is told from other settlements
// until it is certain that it has reached the server.
type park struct {
	how     *settlement
	session *session // on which it was sent; nil if it was not
	sent    int      // how often
	arrived bool     // the server has read it
}

func newLedger(stream string, limit int) ledger {
	return ledger{stream: stream, limit: int32(min(limit, math.MaxInt32)), own: newBook()}
}

func newBook() book {
	return book{newest: -1, doubted: -1, lowest: -1, next: -1}
}

// book returns that of an event's stream; nil if there is none.
func (l *ledger) book(e *Event) *book {
	if e.Stream == l.stream {
		return &l.own
	}
	return l.replayed[e.Stream]
}

// of returns what is known of an event.
func (l *ledger) of(e *Event) standing {
	b := l.book(e)
	if b == nil || e.Number > b.newest {
		return unknown
	}
	if b.held.get(heldEvent{e.Number, e.ID}) != nil {
		return held
	}
	if b.settled.has(e.Number) {
		return settled
	}
	return unknown
}

// flight returns that of an event; nil if it is not held. It is the ledger's own until it is released or settled.
func (l *ledger) flight(e *Event) *flight {
	if b := l.book(e); b != nil {
		return b.held.get(heldEvent{e.Number, e.ID})
	}
	return nil
}

// stayOn makes the flight stale unless it came on session s.
func (f *flight) stayOn(s *session) {
	if f.on != s {
		f.on = stale
	}
}

// hold notes an event that was pushed on a session at some time, and that the consumer gets as e.
func (l *ledger) hold(e *Event, on *session, pushed time.Duration) *flight {
	o := e.Original()
	b := l.book(o)
	if b == nil {
		if l.replayed == nil {
			l.replayed = make(map[string]*book)
		}
		nb := newBook()
		b = &nb
		l.replayed[o.Stream] = b
	}
	h := heldEvent{o.Number, o.ID}
	f := b.held.add(h)
	f.book, f.e, f.on, f.pushed = b, e, on, pushed
	l.holding++
	b.extend(h)
	return f
}

// begin notes that the consumer begins with an event at some time.
func (l *ledger) begin(f *flight, e *Event, at time.Duration) {
	if f.begun == 0 {
		l.begun++
	}
	f.e, f.begun = e, at
}

// timeFrom gives the events that are held and have no times this one.
func (l *ledger) timeFrom(now time.Duration) {
	l.each(func(b *book) {
		for f := range b.held.all {
			if f.pushed == untimed {
				f.pushed = now
			}
			if f.begun == untimed {
				f.begun = now
			}
		}
	})
}

// release forgets an event that was held.
func (l *ledger) release(f *flight) {
	if f.begun > 0 {
		l.begun--
	}
	l.holding--
	f.book.held.remove(f)
}

// waiting goes through the events that are held and that the consumer has not begun with.
func (l *ledger) waiting(yield func(*flight) bool) {
	more := true
	l.each(func(b *book) {
		for f := range b.held.all {
			if more && f.begun == 0 {
				more = yield(f)
			}
		}
	})
}

// settle notes how an event that was held is settled. s is the session on which the server is told; nil if it is not.
func (l *ledger) settle(f *flight, how *settlement, s *session) {
	b, number, on := f.book, f.number, f.on
	if l.release(f); on == stale {
		s.freeSlot(-1)
		return
	}
	b.settled.add(number)
	switch {
	case b != &l.own:
		s.freeSlot(-1)
	case s == nil:
		l.notTold(number)
	default:
		s.freeSlot(number)
	}
	if how.nack && how.action == NackPark {
		b.addPark(number, &park{how: how, session: s, sent: 1}, int(l.limit))
	} else if len(b.parks) > 0 {
		delete(b.parks, number)
	}
}

// addPark notes a park. Beyond the limit others make room: first those that have arrived, which are not missed.
func (b *book) addPark(number int64, k *park, limit int) {
	if len(b.parks) >= limit {
		b.dropArrived(nil)
	}
	for n := range b.parks {
		if len(b.parks) < limit {
			break
		}
		delete(b.parks, n)
	}
	if b.parks == nil {
		b.parks = make(map[int64]*park)
	}
	b.parks[number] = k
}

// dropArrived forgets the parks that have reached the server on a session, or on any if s is nil: from then on such an
// event need only be acked when it comes again.
func (b *book) dropArrived(s *session) {
	for n, k := range b.parks {
		if k.arrived && (s == nil || k.session == s) {
			delete(b.parks, n)
		}
	}
}

// parkOf returns how a settled event was parked; nil if it was not, or if an ack does as well.
func (l *ledger) parkOf(e *Event) *park {
	if b := l.book(e); len(b.parks) > 0 {
		return b.parks[e.Number]
	}
	return nil
}

// onTheWay are the parks that were sent on a session and are not known to have arrived, each with how often.
func (l *ledger) onTheWay(s *session) map[*park]int {
	var parks map[*park]int
	l.each(func(b *book) {
		for _, k := range b.parks {
			if k.session == s && !k.arrived {
				if parks == nil {
					parks = make(map[*park]int)
				}
				parks[k] = k.sent
			}
		}
	})
	return parks
}

// mayBeParked reports whether there are parks that were sent and may or may not have arrived.
func (l *ledger) mayBeParked() bool {
	for _, k := range l.own.parks {
		if k.session != nil && !k.arrived {
			return true
		}
	}
	return false
}

// foundParked notes that the events of these numbers are in the parked stream.
func (l *ledger) foundParked(numbers map[int64]bool) {
	for n := range numbers {
		if k := l.own.parks[n]; k != nil && k.session != nil {
			k.arrived = true
		}
	}
}

// over notes that a session has ended.
func (l *ledger) over(s *session) {
	l.each(func(b *book) { b.dropArrived(s) })
	if s.judged || s.begins >= 0 && s.begins <= l.own.newest {
		l.untold = nil // what was not heard before came again, or the group did not know of it
	}
	for n := range s.unheard() {
		l.notTold(n)
	}
	if s.latest < 0 {
		return
	}
	for n := s.latest + 1; n <= min(l.own.newest, s.latest+int64(s.window)); n++ {
		if l.own.settled.has(n) {
			l.notTold(n) // it may have been on its way, and comes again as a retry
		}
	}
}

// notTold notes that the server may not have heard how an event was settled. Beyond maxUntold it forgets any.
func (l *ledger) notTold(number int64) {
	if l.untold == nil {
		l.untold = make(map[int64]bool)
	}
	for n := range l.untold {
		if len(l.untold) < maxUntold {
			break
		}
		delete(l.untold, n)
	}
	l.untold[number] = true
}

// believes reports whether the group still knows that a settled event which comes again was settled, or at least that
// it was handed out. In doubt only that goes for what the server counts as a retry, and perhaps was not told.
func (l *ledger) believes(e *Event, retries int) bool {
	if e.Stream != l.stream {
		return retries > 0 // otherwise it is replayed once more, on purpose
	}
	return e.Number > l.own.doubted || retries > 0 && l.untold[e.Number]
}

// forgetDoubted forgets what is in doubt. s is the session on which that was found.
func (l *ledger) forgetDoubted(s *session) { l.own.forgetUpTo(l.own.doubted, s) }

// forgetReplayed forgets that an event of the parked stream was settled.
func (l *ledger) forgetReplayed(e *Event) {
	b := l.book(e)
	b.settled.remove(e.Number)
	delete(b.parks, e.Number)
}

// came notes that the group has pushed an event, whatever becomes of it.
func (l *ledger) came(e *Event) {
	if e.Stream != l.stream {
		return
	}
	b := &l.own
	if b.next < 0 {
		b.lowest, b.next = e.Number, e.Number
	}
	b.jumped = b.jumped || e.Number > b.next
	b.lowest, b.next = min(b.lowest, e.Number), max(b.next, e.Number+1)
}

// forgetPushes forgets what the group has pushed, since it is another.
func (b *book) forgetPushes() { b.lowest, b.next, b.jumped = -1, -1, false }

// resumed reports whether a group that begins with number begin looks as one that goes on behind a checkpoint: it does
// not begin where everything began, checkpoints pass over nothing that is held, and do not lag behind for more than
// window. Where others got a part of the events, what is left of a new group may look like that, too.
func (l *ledger) resumed(begin, window int64) bool {
	own := &l.own
	if own.jumped || begin <= own.lowest || own.next-begin > window {
		return false
	}
	for f := range own.held.all {
		if f.number < begin && f.on != stale {
			return false
		}
	}
	return true
}

func (b *book) forgetUpTo(number int64, s *session) {
	b.settled.removeUpTo(number)
	for n := range b.parks {
		if n <= number {
			delete(b.parks, n)
		}
	}
	b.doubted = -1
	b.forgetPushes()
	for f := range b.held.all {
		if f.number <= number {
			f.stayOn(s)
		}
	}
}

// doubt notes that the group may be another than that which was told what is settled.
func (l *ledger) doubt() { l.own.doubted = l.own.newest }

// believe ends a doubt.
func (l *ledger) believe() { l.own.doubted, l.untold = -1, nil }

// believeFrom ends a doubt of what is behind a number.
func (l *ledger) believeFrom(number int64) { l.own.doubted = min(l.own.doubted, number) }

// doubts reports whether believes depends on the event.
func (l *ledger) doubts() bool { return l.own.doubted >= 0 }

// forgetSettled leaves nothing but what is held: the group that pushes on session s is another.
func (l *ledger) forgetSettled(s *session) {
	l.each(func(b *book) {
		b.settled.clear()
		b.parks, b.doubted = nil, -1
		for f := range b.held.all {
			f.stayOn(s)
		}
	})
	l.untold = nil
	l.forgetNumbers()
}

// forgetNumbers forgets which numbers the stream had. Nothing is settled.
func (l *ledger) forgetNumbers() {
	l.each(func(b *book) {
		b.newest = -1
		b.forgetPushes()
		for f := range b.held.all {
			b.extend(f.heldEvent)
		}
	})
}

// extend notes the number of an event that is held.
func (b *book) extend(h heldEvent) {
	if h.number > b.newest {
		b.newest, b.anchor = h.number, h.id
	}
}

// hasSettled reports whether anything settled is remembered.
func (l *ledger) hasSettled() (found bool) {
	l.each(func(b *book) { found = found || !b.settled.empty() })
	return found
}

func (l *ledger) each(f func(*book)) {
	f(&l.own)
	for _, b := range l.replayed {
		f(b)
	}
}
