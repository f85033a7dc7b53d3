package eventlog

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// RefusalText is the text of a read that is refused; nil for a server that tells none.
func (f *Facts) RefusalText() *string {
	if !f.RefusedReadHasText {
		return nil
	}
	return &f.DeniedText
}

// ReadEvent reads an event of a stream that u may read.
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

// withoutEvent is the result of reading one event that is not there. For a metadata stream that is a success if its
// stream exists. Some servers take every name that begins with $ for one, and cut two characters off.
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
	Text    string
	Records []*Record
	Next    int64
	Last    int64
	End     bool

	LastCommit int64 // of the whole log
}

// Read reads at most count events of a stream from a number on, for a user: those that follow or those before it.
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

// lastPosition is what reads tell of how far the log goes. Confirmations of subscriptions always tell lastCommit.
func (l *Log) lastPosition() int64 {
	if l.facts.EmptyWritesCount {
		return max(l.lastCommit, l.lastEmpty)
	}
	return l.lastCommit
}

// LastNumber returns the number of a stream's last event, -1 without one. The metadata stream of a deleted stream is
// deleted, too.
func (l *Log) LastNumber(name string) int64 {
	if l.HardDeleted(name) {
		return esproto.DeletedStream
	}
	if s := l.Stream(name); s != nil {
		return s.Last()
	}
	return -1
}
