package estest

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
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
	reply, event, link := &esproto.ReadEventCompleted{}, (*eventlog.Record)(nil), (*eventlog.Record)(nil)
	switch name := m.GetEventStreamId(); {
	case !c.core.log.Allowed(f.user, eventlog.RightRead, name):
		reply.Result = esproto.ReadEventCompleted_AccessDenied.Enum()
		reply.Error = c.core.persona.RefusalText()
	case name == "$" && c.core.persona.DollarIsMetadata: // two characters cannot be cut off; see withoutEvent
		reply.Result = esproto.ReadEventCompleted_Error.Enum()
		reply.Error = proto.String("The name of the stream is too short.")
	default:
		var result esproto.ReadEventCompleted_ReadEventResult
		result, event, link = c.core.log.ReadEvent(f.user, name, m.GetEventNumber(), m.GetResolveLinkTos())
		reply.Result = result.Enum()
	}
	c.send(esproto.CmdReadEventCompleted, f.id, func(b []byte) []byte {
		b = c.core.persona.marshal(b, &esproto.ReadEventCompleted{Result: reply.Result})
		b = esproto.AppendIndexedEvent(b, 2, c.wire(event), c.wire(link))
		return c.core.persona.marshal(b, &esproto.ReadEventCompleted{Error: reply.Error})
	})
	return nil
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
	p := c.core.log.Read(f.user, m.GetEventStreamId(), m.GetFromEventNumber(), int(m.GetMaxCount()), forward)
	c.sendPage(reply, f, &p, m.GetResolveLinkTos())
	return nil
}

// sendPage encodes a page directly into the send buffer.
func (c *caller) sendPage(reply esproto.Command, f *frame, p *eventlog.Page, resolveLinks bool) {
	for _, r := range p.Records {
		if _, _, ok := c.core.log.ResolveFor(f.user, r, resolveLinks); !ok {
			*p = eventlog.Page{
				Result: esproto.ReadStreamEventsCompleted_AccessDenied, Next: -1, Last: -1, End: true,
				LastCommit: p.LastCommit,
			}
			break
		}
	}
	c.send(reply, f.id, func(b []byte) []byte {
		b = slices.Grow(b, pageSize(p.Records))
		for _, r := range p.Records {
			event, link, _ := c.core.log.ResolveFor(f.user, r, resolveLinks)
			b = c.appendIndexed(b, event, link)
		}
		return c.core.persona.marshal(b, &esproto.ReadStreamEventsCompleted{
			Result:             p.Result.Enum(),
			NextEventNumber:    proto.Int64(c.narrow(p.Next)),
			LastEventNumber:    proto.Int64(c.narrow(p.Last)),
			IsEndOfStream:      proto.Bool(p.End),
			LastCommitPosition: proto.Int64(p.LastCommit),
			Error:              proto.String(p.Text),
		})
	})
}
