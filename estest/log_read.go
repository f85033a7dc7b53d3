package estest

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// refusal is the text of a read that is refused; nil for a server that tells none.
func (f *logFacts) refusal() *string {
	if !f.RefusedReadHasText {
		return nil
	}
	return &f.DeniedText
}

// readOne reads an event of a stream that u may read.
func (l *eventLog) readOne(
	u *user, name string, number int64, resolveLinks bool,
) (esproto.ReadEventCompleted_ReadEventResult, *record, *record) {
	if l.hardDeleted(name) {
		return esproto.ReadEventCompleted_StreamDeleted, nil, nil
	}
	s := l.stream(name)
	if s == nil || s.last() < 0 || s.softDeleted() {
		return l.withoutEvent(name, esproto.ReadEventCompleted_NoStream), nil, nil
	}
	if number == -1 {
		number = s.last()
	}
	r := s.visible(number, l.now())
	if r == nil {
		return l.withoutEvent(name, esproto.ReadEventCompleted_NotFound), nil, nil
	}
	event, link, ok := l.resolveFor(u, r, resolveLinks)
	if !ok {
		return esproto.ReadEventCompleted_AccessDenied, nil, nil
	}
	return esproto.ReadEventCompleted_Success, event, link
}

// withoutEvent is the result of reading one event that is not there. For a metadata stream that is a success if its
// stream exists. Some servers take every name that begins with $ for one, and cut two characters off.
func (l *eventLog) withoutEvent(
	name string, result esproto.ReadEventCompleted_ReadEventResult,
) esproto.ReadEventCompleted_ReadEventResult {
	if len(name) < 2 || name[0] != '$' || !l.facts.DollarIsMetadata && !isMetastream(name) {
		return result
	}
	if n := l.lastNumber(name[2:]); n >= 0 && n != esproto.DeletedStream {
		return esproto.ReadEventCompleted_Success
	}
	return result
}

// page is the result of a read of a stream.
type page struct {
	result esproto.ReadStreamEventsCompleted_ReadStreamResult
	text   string
	recs   []*record
	next   int64
	last   int64
	end    bool

	lastCommit int64 // of the whole log
}

// readPage reads at most count events of a stream from a number on, for a user: those that follow or those before it.
func (l *eventLog) readPage(u *user, name string, from int64, count int, forward bool) page {
	failed := page{next: -1, last: -1, end: true, lastCommit: l.lastPosition()}
	mayRead := l.allowed(u, rightRead, name)
	switch {
	case !mayRead && l.facts.ReadRightIsFirst:
		return page{
			result: esproto.ReadStreamEventsCompleted_AccessDenied, text: l.facts.DeniedText, next: -1, end: true,
		}
	case count > esproto.MaxReadCount:
		failed.result = esproto.ReadStreamEventsCompleted_Error
		failed.text = "Read size too big, should be less than 4096 items"
		return failed
	case !mayRead:
		failed.result = esproto.ReadStreamEventsCompleted_AccessDenied
		return failed
	case forward && from < 0, count <= 0:
		failed.result, failed.text = esproto.ReadStreamEventsCompleted_Error, "The arguments are out of range."
		return failed
	case l.hardDeleted(name):
		failed.result, failed.last = esproto.ReadStreamEventsCompleted_StreamDeleted, esproto.DeletedStream
		return failed
	}
	s := l.stream(name)
	if s == nil || s.last() < 0 || s.softDeleted() {
		failed.result = esproto.ReadStreamEventsCompleted_NoStream
		if s != nil {
			failed.last = s.last()
		}
		return failed
	}
	p := page{result: esproto.ReadStreamEventsCompleted_Success, last: s.last(), lastCommit: l.lastPosition()}
	read := l.readBackward
	if forward {
		read = l.readForward
	}
	p.recs, p.next, p.end = read(s, from, count)
	return p
}

// lastPosition is what reads tell of how far the log goes. Confirmations of subscriptions always tell lastCommit.
func (l *eventLog) lastPosition() int64 {
	if l.facts.EmptyWritesCount {
		return max(l.lastCommit, l.lastEmpty)
	}
	return l.lastCommit
}

// lastNumber returns the number of a stream's last event, -1 without one. The metadata stream of a deleted stream is
// deleted, too.
func (l *eventLog) lastNumber(name string) int64 {
	if l.hardDeleted(name) {
		return esproto.DeletedStream
	}
	if s := l.stream(name); s != nil {
		return s.last()
	}
	return -1
}
