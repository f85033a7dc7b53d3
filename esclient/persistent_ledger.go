package esclient

import (
	"math"
	"time"

	"github.com/google/uuid"
)

// settlement is how the consumer settled an event. It does not change.
type settlement struct {
	nack   bool
	action NackAction
	reason string
}

var acked = &settlement{}

// eventState is the state of an event in the ledger.
type eventState int

const (
	unknown eventState = iota
	held               // queued or handed out
	settled
)

// maxUnheard bounds ledger.unheard.
const maxUnheard = 1 << 16

// ledger knows which events of a group are held, and which are settled. Acks and nacks have no reply. The server may
// not get one that was sent just before the connection was lost. After a restart it may have forgotten one. Then the
// event comes again, and the subscription repeats the ack or nack.
//
// An event is identified by stream and number. For a parked event that is replayed, these are the parked stream and the
// number of the entry there. The settled numbers take memory for their gaps, not for their count. Most events have new
// numbers, so settled numbers are looked up only if a number comes again.
type ledger struct {
	stream   string // of the group
	limit    int32  // of parks
	own      streamLedger
	replayed map[string]*streamLedger // by stream
	holding  int32
	bytes    int64          // of the held events
	begun    int32          // held events that the consumer has begun with
	unheard  map[int64]bool // numbers of settled events that the server may not know to be settled; kept while in doubt
}

// streamLedger is the state of the events of one stream.
type streamLedger struct {
	held    flights
	newest  int64     // the highest number that was ever held; -1 for none
	anchor  uuid.UUID // the id of the event of that number
	settled numbers
	doubted int64           // up to this number the group may not know the settled events; -1 for no doubt
	parks   map[int64]*park // of settled events

	// The pushes of the group since it began, as far as they are known.
	lowest int64 // the lowest number; -1 for none
	next   int64 // the number behind the highest; -1 for none
	jumped bool  // it skipped numbers: other subscribers get some of the events
}

// heldEvent identifies an event in its stream. After the log was replaced, the number may belong to another event.
type heldEvent struct {
	number int64
	id     uuid.UUID
}

// stale stands for the sessions of a group that was created again since. A settlement of one of their events does not
// count for the new group, unless the new group has pushed the event too.
var stale = new(session)

// park is a nack that parks an event. Repeating it would park the event twice, so parks are kept apart from other
// settlements until the server has certainly read them.
type park struct {
	how     *settlement
	session *session // the session that sent it; nil if it was not sent
	sent    int      // how often
	arrived bool     // the server has read it
}

func newLedger(stream string, limit int) ledger {
	return ledger{stream: stream, limit: int32(min(limit, math.MaxInt32)), own: newStreamLedger()}
}

func newStreamLedger() streamLedger {
	return streamLedger{newest: -1, doubted: -1, lowest: -1, next: -1}
}

// streamLedger returns the ledger of an event's stream; nil if there is none.
func (l *ledger) streamLedger(e *Event) *streamLedger {
	if e.Stream == l.stream {
		return &l.own
	}
	return l.replayed[e.Stream]
}

// of returns the state of an event.
func (l *ledger) of(e *Event) eventState {
	b := l.streamLedger(e)
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

// flight returns the flight of an event; nil if the event is not held. The ledger owns it until the event is released
// or settled.
func (l *ledger) flight(e *Event) *flight {
	if b := l.streamLedger(e); b != nil {
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

// hold adds an event that was pushed on a session at the given time. The consumer gets it as e.
func (l *ledger) hold(e *Event, on *session, pushed time.Duration) *flight {
	o := e.Original()
	b := l.streamLedger(o)
	if b == nil {
		if l.replayed == nil {
			l.replayed = make(map[string]*streamLedger)
		}
		nb := newStreamLedger()
		b = &nb
		l.replayed[o.Stream] = b
	}
	h := heldEvent{o.Number, o.ID}
	f := b.held.add(h)
	f.streamLedger, f.e, f.on, f.pushed, f.weight = b, e, on, pushed, weight(e)
	l.holding++
	l.bytes += f.weight
	b.extend(h)
	return f
}

// begin notes that the consumer begins with an event at the given time.
func (l *ledger) begin(f *flight, e *Event, at time.Duration) {
	if f.begun == 0 {
		l.begun++
	}
	f.e, f.begun = e, at
}

// timeFrom sets the times of held events that have none.
func (l *ledger) timeFrom(now time.Duration) {
	l.each(func(b *streamLedger) {
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

// release forgets a held event.
func (l *ledger) release(f *flight) {
	if f.begun > 0 {
		l.begun--
	}
	l.holding--
	l.bytes -= f.weight
	f.streamLedger.held.remove(f)
}

// waiting iterates over the held events that the consumer has not begun with.
func (l *ledger) waiting(yield func(*flight) bool) {
	more := true
	l.each(func(b *streamLedger) {
		for f := range b.held.all {
			if more && f.begun == 0 {
				more = yield(f)
			}
		}
	})
}

// settle notes how a held event is settled. s is the session that sends this to the server; nil if none does.
func (l *ledger) settle(f *flight, how *settlement, s *session) {
	b, number, on := f.streamLedger, f.number, f.on
	if l.release(f); on == stale {
		s.freeSlot(-1)
		return
	}
	b.settled.add(number)
	switch {
	case b != &l.own:
		s.freeSlot(-1)
	case s == nil:
		l.addUnheard(number)
	default:
		s.freeSlot(number)
	}
	if how.nack && how.action == NackPark {
		b.addPark(number, &park{how: how, session: s, sent: 1}, int(l.limit))
	} else if len(b.parks) > 0 {
		delete(b.parks, number)
	}
}

// addPark adds a park. If there are too many, others are dropped, first those that have arrived.
func (b *streamLedger) addPark(number int64, k *park, limit int) {
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

// dropArrived forgets the parks that the server has read on session s, or on any session if s is nil. If such an event
// comes again, an ack is enough.
func (b *streamLedger) dropArrived(s *session) {
	for n, k := range b.parks {
		if k.arrived && (s == nil || k.session == s) {
			delete(b.parks, n)
		}
	}
}

// parkOf returns the park of a settled event; nil if it was not parked, or if an ack is enough.
func (l *ledger) parkOf(e *Event) *park {
	if b := l.streamLedger(e); len(b.parks) > 0 {
		return b.parks[e.Number]
	}
	return nil
}

// onTheWay returns the parks that were sent on a session and may not have arrived, each with how often it was sent.
func (l *ledger) onTheWay(s *session) map[*park]int {
	var parks map[*park]int
	l.each(func(b *streamLedger) {
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

// mayBeParked reports whether there are parks that were sent and may not have arrived.
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
	l.each(func(b *streamLedger) { b.dropArrived(s) })
	if s.judged || s.begins >= 0 && s.begins <= l.own.newest {
		l.unheard = nil // events that the server had not settled have come again, or the group does not know them
	}
	for n := range s.unheard() {
		l.addUnheard(n)
	}
	if s.latest < 0 {
		return
	}
	for n := s.latest + 1; n <= min(l.own.newest, s.latest+int64(s.window)); n++ {
		if l.own.settled.has(n) {
			l.addUnheard(n) // the server may have pushed it again as a retry
		}
	}
}

// addUnheard notes that the server may not know how an event was settled. Beyond maxUnheard it drops any other.
func (l *ledger) addUnheard(number int64) {
	if l.unheard == nil {
		l.unheard = make(map[int64]bool)
	}
	for n := range l.unheard {
		if len(l.unheard) < maxUnheard {
			break
		}
		delete(l.unheard, n)
	}
	l.unheard[number] = true
}

// believes reports whether the group still knows an event that comes again: that it was settled, or at least handed
// out. In doubt only a retry counts, and only of an event whose settlement the server may have missed.
func (l *ledger) believes(e *Event, retries int32) bool {
	if e.Stream != l.stream {
		return retries > 0 // otherwise it is replayed once more, on purpose
	}
	return e.Number > l.own.doubted || retries > 0 && l.unheard[e.Number]
}

// forgetDoubted forgets the settled events that are in doubt. s is the session that found this out.
func (l *ledger) forgetDoubted(s *session) { l.own.forgetUpTo(l.own.doubted, s) }

// forgetReplayed forgets that an event of the parked stream was settled.
func (l *ledger) forgetReplayed(e *Event) {
	b := l.streamLedger(e)
	b.settled.remove(e.Number)
	delete(b.parks, e.Number)
}

// came notes that the group has pushed an event, held or not.
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

// forgetPushes forgets the pushes of the group, because another group has replaced it.
func (b *streamLedger) forgetPushes() { b.lowest, b.next, b.jumped = -1, -1, false }

// resumed reports whether a group that begins with number begin seems to go on after a checkpoint. Such a group does
// not begin with its first event again. Its checkpoint is not after an event that is held and has not come again on
// session s, and at most window events back. If other subscribers got some of the events, a new group may look the
// same.
func (l *ledger) resumed(s *session, begin, window int64) bool {
	own := &l.own
	if own.jumped || begin <= own.lowest || own.next-begin > window {
		return false
	}
	for f := range own.held.all {
		if f.number < begin && f.on != stale && f.on != s {
			return false
		}
	}
	return true
}

func (b *streamLedger) forgetUpTo(number int64, s *session) {
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

// doubt notes that a new group may have replaced the one that knows the settled events.
func (l *ledger) doubt() { l.own.doubted = l.own.newest }

// believe ends a doubt.
func (l *ledger) believe() { l.own.doubted, l.unheard = -1, nil }

// believeFrom ends the doubt about events after a number.
func (l *ledger) believeFrom(number int64) { l.own.doubted = min(l.own.doubted, number) }

// doubts reports whether some settled events are in doubt.
func (l *ledger) doubts() bool { return l.own.doubted >= 0 }

// forgetSettled forgets all settled events, because the group that pushes on session s is a new one.
func (l *ledger) forgetSettled(s *session) {
	l.each(func(b *streamLedger) {
		b.settled.clear()
		b.parks, b.doubted = nil, -1
		for f := range b.held.all {
			f.stayOn(s)
		}
	})
	l.unheard = nil
	l.forgetNumbers()
}

// forgetNumbers forgets the numbers of the stream. No event is settled.
func (l *ledger) forgetNumbers() {
	l.each(func(b *streamLedger) {
		b.newest = -1
		b.forgetPushes()
		for f := range b.held.all {
			b.extend(f.heldEvent)
		}
	})
}

// extend notes the number of a held event.
func (b *streamLedger) extend(h heldEvent) {
	if h.number > b.newest {
		b.newest, b.anchor = h.number, h.id
	}
}

// hasSettled reports whether the ledger has any settled event.
func (l *ledger) hasSettled() (found bool) {
	l.each(func(b *streamLedger) { found = found || !b.settled.empty() })
	return found
}

func (l *ledger) each(f func(*streamLedger)) {
	f(&l.own)
	for _, b := range l.replayed {
		f(b)
	}
}
