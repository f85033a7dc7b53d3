package estest

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func (c *caller) readEvent(f *frame) error {
	var m esproto.ReadEvent
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if m.GetEventStreamId() == "" {
		return errors.New("the stream name is empty")
	}
	if m.GetEventNumber() < -1 {
		return errors.New("the event number is below -1")
	}
	reply, event, link := &esproto.ReadEventCompleted{}, (*record)(nil), (*record)(nil)
	switch name := m.GetEventStreamId(); {
	case !c.core.allowed(f.user, rightRead, name):
		reply.Result = esproto.ReadEventCompleted_AccessDenied.Enum()
		reply.Error = c.core.persona.refusal()
	case name == "$" && c.core.persona.dollarIsMetadata: // two characters cannot be cut off; see withoutEvent
		reply.Result = esproto.ReadEventCompleted_Error.Enum()
		reply.Error = proto.String("The name of the stream is too short.")
	default:
		var result esproto.ReadEventCompleted_ReadEventResult
		result, event, link = c.core.readOne(f.user, name, m.GetEventNumber(), m.GetResolveLinkTos())
		reply.Result = result.Enum()
	}
	c.send(esproto.CmdReadEventCompleted, f.id, func(b []byte) []byte {
		b = c.core.persona.marshal(b, &esproto.ReadEventCompleted{Result: reply.Result})
		b = esproto.AppendIndexedEvent(b, 2, c.wire(event), c.wire(link))
		return c.core.persona.marshal(b, &esproto.ReadEventCompleted{Error: reply.Error})
	})
	return nil
}

// refusal is the text of a read that is refused; nil for a server that tells none.
func (f *facts) refusal() *string {
	if !f.refusedReadHasText {
		return nil
	}
	return &f.deniedText
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
	if len(name) < 2 || name[0] != '$' || !l.facts.dollarIsMetadata && !isMetastream(name) {
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

func (c *caller) readStreamForward(f *frame) error {
	return c.readStream(f, esproto.CmdReadStreamEventsForwardCompleted, true)
}

func (c *caller) readStreamBackward(f *frame) error {
	return c.readStream(f, esproto.CmdReadStreamEventsBackwardCompleted, false)
}

func (c *caller) readStream(f *frame, reply esproto.Command, forward bool) error {
	var m esproto.ReadStreamEvents
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if m.GetEventStreamId() == "" {
		return errors.New("the stream name is empty")
	}
	if m.GetFromEventNumber() < -1 {
		return errors.New("the event number is below -1")
	}
	p := c.core.readPage(f.user, m.GetEventStreamId(), m.GetFromEventNumber(), int(m.GetMaxCount()), forward)
	c.sendPage(reply, f, &p, m.GetResolveLinkTos())
	return nil
}

// readPage reads at most count events of a stream from a number on, for a user: those that follow or those before it.
func (l *eventLog) readPage(u *user, name string, from int64, count int, forward bool) page {
	failed := page{next: -1, last: -1, end: true, lastCommit: l.lastPosition()}
	mayRead := l.allowed(u, rightRead, name)
	switch {
	case !mayRead && l.facts.readRightIsFirst:
		return page{
			result: esproto.ReadStreamEventsCompleted_AccessDenied, text: l.facts.deniedText, next: -1, end: true,
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
	if l.facts.emptyWritesCount {
		return max(l.lastCommit, l.lastEmpty)
	}
	return l.lastCommit
}

// pageSize is about how much a page of records takes, so that it is not copied while it grows.
func pageSize(recs []*record) int {
	n := 512
	for _, r := range recs {
		n += len(r.wire) + 32
	}
	return n
}

// sendPage encodes a page straight into what is sent.
func (c *caller) sendPage(reply esproto.Command, f *frame, p *page, resolveLinks bool) {
	for _, r := range p.recs {
		if _, _, ok := c.core.resolveFor(f.user, r, resolveLinks); !ok {
			*p = page{
				result: esproto.ReadStreamEventsCompleted_AccessDenied, next: -1, last: -1, end: true,
				lastCommit: p.lastCommit,
			}
			break
		}
	}
	c.send(reply, f.id, func(b []byte) []byte {
		b = slices.Grow(b, pageSize(p.recs))
		for _, r := range p.recs {
			event, link, _ := c.core.resolveFor(f.user, r, resolveLinks)
			b = c.appendIndexed(b, event, link)
		}
		return c.core.persona.marshal(b, &esproto.ReadStreamEventsCompleted{
			Result:             p.result.Enum(),
			NextEventNumber:    proto.Int64(c.narrow(p.next)),
			LastEventNumber:    proto.Int64(c.narrow(p.last)),
			IsEndOfStream:      proto.Bool(p.end),
			LastCommitPosition: proto.Int64(p.lastCommit),
			Error:              proto.String(p.text),
		})
	})
}
