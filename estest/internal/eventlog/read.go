package eventlog

import (
	"math"
	"sort"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// RefusalText returns the text of a read that the server refuses; nil if the version has none.
func (f *Facts) RefusalText() *string {
	if !f.RefusedReadHasText {
		return nil
	}
	return &f.DeniedText
}

// ReadEvent reads one event of a stream. The caller has checked the right of the user to read the stream.
func (l *Log) ReadEvent(
	u *User, name string, number int64, resolveLinks bool,
) (esproto.ReadEventCompleted_ReadEventResult, *Record, *Record) {
	if l.HardDeleted(name) {
		return esproto.ReadEventCompleted_StreamDeleted, nil, nil
	}
	s := l.Stream(name)
	if s == nil || s.Last() < 0 || s.SoftDeleted() {
		return l.withoutEvent(name, esproto.ReadEventCompleted_NoStream), nil, nil
	}
	if number == -1 {
		number = s.Last()
	}
	r := s.Visible(number, l.now())
	if r == nil {
		return l.withoutEvent(name, esproto.ReadEventCompleted_NotFound), nil, nil
	}
	event, link, ok := l.ResolveFor(u, r, resolveLinks)
	if !ok {
		return esproto.ReadEventCompleted_AccessDenied, nil, nil
	}
	return esproto.ReadEventCompleted_Success, event, link
}

// withoutEvent returns the result of a read of one event that does not exist. For a metadata stream that is a success
// if its stream exists. Some versions take every name that begins with $ for a metadata stream.
func (l *Log) withoutEvent(
	name string, result esproto.ReadEventCompleted_ReadEventResult,
) esproto.ReadEventCompleted_ReadEventResult {
	if len(name) < 2 || name[0] != '$' || !l.facts.DollarIsMetadata && !isMetastream(name) {
		return result
	}
	if n := l.LastNumber(name[2:]); n >= 0 && n != esproto.DeletedStream {
		return esproto.ReadEventCompleted_Success
	}
	return result
}

// Page is the result of a read of a stream.
type Page struct {
	Result  esproto.ReadStreamEventsCompleted_ReadStreamResult
	Text    string    // why there are no events
	Records []*Record // in the direction of the read
	Next    int64     // the number to read on from; -1 if there is nothing more in that direction
	Last    int64     // number of the stream's last event
	End     bool      // there is nothing more in that direction at the moment

	LastCommit int64 // of the whole log
}

// Read reads a page of a stream for a user: at most count events from a number on, forward or backward.
func (l *Log) Read(u *User, name string, from int64, count int, forward bool) Page {
	failed := Page{Next: -1, Last: -1, End: true, LastCommit: l.lastPosition()}
	mayRead := l.Allowed(u, RightRead, name)
	switch {
	case !mayRead && l.facts.ReadRightIsFirst:
		return Page{
			Result: esproto.ReadStreamEventsCompleted_AccessDenied, Text: l.facts.DeniedText, Next: -1, End: true,
		}
	case count > esproto.MaxReadCount:
		failed.Result = esproto.ReadStreamEventsCompleted_Error
		failed.Text = "Read size too big, should be less than 4096 items"
		return failed
	case !mayRead:
		failed.Result = esproto.ReadStreamEventsCompleted_AccessDenied
		return failed
	case forward && from < 0, count <= 0:
		failed.Result, failed.Text = esproto.ReadStreamEventsCompleted_Error, "The arguments are out of range."
		return failed
	case l.HardDeleted(name):
		failed.Result, failed.Last = esproto.ReadStreamEventsCompleted_StreamDeleted, esproto.DeletedStream
		return failed
	}
	s := l.Stream(name)
	if s == nil || s.Last() < 0 || s.SoftDeleted() {
		failed.Result = esproto.ReadStreamEventsCompleted_NoStream
		if s != nil {
			failed.Last = s.Last()
		}
		return failed
	}
	p := Page{Result: esproto.ReadStreamEventsCompleted_Success, Last: s.Last(), LastCommit: l.lastPosition()}
	read := l.readBackward
	if forward {
		read = l.ReadForward
	}
	p.Records, p.Next, p.End = read(s, from, count)
	return p
}

// lastPosition returns the last position in the replies to reads. Confirmations of subscriptions have LastCommit
// instead.
func (l *Log) lastPosition() int64 {
	if l.facts.EmptyWritesCount {
		return max(l.lastCommit, l.lastEmpty)
	}
	return l.lastCommit
}

// LastNumber returns the number of a stream's last event, -1 without one, or DeletedStream. A metadata stream is
// deleted with its stream.
func (l *Log) LastNumber(name string) int64 {
	if l.HardDeleted(name) {
		return esproto.DeletedStream
	}
	if s := l.Stream(name); s != nil {
		return s.Last()
	}
	return -1
}

// ReadForward reads the visible events among count numbers from a number on. It returns the number to read on at, and
// whether that is the end of the stream. The stream must exist and not be deleted.
func (l *Log) ReadForward(s *Stream, from int64, count int) (recs []*Record, next int64, end bool) {
	last, first, now := s.Last(), s.First(), l.now()
	windowEnd := from + int64(count) - 1
	if windowEnd < from && !l.facts.PageEndWraps {
		windowEnd = math.MaxInt64
	}
	if windowEnd < first {
		return nil, first, false
	}
	if from > last && !l.facts.PageEndWraps {
		return nil, last + 1, true
	}
	next = min(windowEnd+1, last+1)
	for n := max(from, first); n <= min(windowEnd, last); n++ {
		if r := s.Visible(n, now); r != nil {
			recs = append(recs, r)
			next = n + 1
		}
	}
	if len(recs) == 0 && s.meta.maxAge > 0 && windowEnd < last && l.facts.SeeksByAge {
		return s.seekByAge(windowEnd+1, now)
	}
	return recs, next, windowEnd >= last
}

// seekByAge returns the page of a read whose events are all too old. The next page begins at the first event that is
// young enough, or behind all events.
func (s *Stream) seekByAge(from int64, now time.Time) (recs []*Record, next int64, end bool) {
	last := s.Last()
	young := sort.Search(int(last-from+1), func(i int) bool { return !s.expired(s.At(from+int64(i)), now) })
	next = from + int64(young)
	return nil, next, next > last
}

// readBackward is ReadForward in the other direction. A negative number is the last event. next is -1 at the beginning
// of the stream.
func (l *Log) readBackward(s *Stream, from int64, count int) (recs []*Record, next int64, end bool) {
	last, first, now := s.Last(), s.First(), l.now()
	if from < 0 {
		from = last
	}
	start := max(0, from-int64(count)+1)
	if from < first {
		return nil, -1, true
	}
	lowest := int64(-1)
	for n := min(from, last); n >= max(start, first); n-- {
		if r := s.Visible(n, now); r != nil {
			recs = append(recs, r)
			lowest = n
		}
	}
	switch {
	case start <= first, start == 0, start <= last && lowest != start:
		return recs, -1, true
	}
	return recs, min(start-1, last), false
}
