package estest

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (c *caller) readAllForward(f *frame) error  { return c.readAll(f, true) }
func (c *caller) readAllBackward(f *frame) error { return c.readAll(f, false) }

func allReply(forward bool) esproto.Command {
	if forward {
		return esproto.CmdReadAllEventsForwardCompleted
	}
	return esproto.CmdReadAllEventsBackwardCompleted
}

func (c *caller) readAll(f *frame, forward bool) error {
	var m esproto.ReadAllEvents
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	scan := eventlog.Scan{Forward: forward, Count: int(m.GetMaxCount()), Window: math.MaxInt}
	from := eventlog.Position{Commit: m.GetCommitPosition(), Prepare: m.GetPreparePosition()}
	p := c.core.log.ReadAll(f.user, from, &scan)
	c.sendAllPage(allReply(forward), f, &p, m.GetResolveLinkTos())
	return nil
}

// sendAllPage encodes a page directly into the send buffer.
func (c *caller) sendAllPage(reply esproto.Command, f *frame, p *eventlog.AllPage, resolveLinks bool) {
	for _, r := range p.Records {
		if _, _, ok := c.core.log.ResolveFor(f.user, r, resolveLinks); !ok {
			*p = eventlog.DeniedLink(p.From)
			break
		}
	}
	c.send(reply, f.id, func(b []byte) []byte {
		b = c.appendPositioned(b, f.user, p.Records, resolveLinks)
		return c.core.persona.marshal(b, &esproto.ReadAllEventsCompleted{
			CommitPosition:      proto.Int64(p.From.Commit),
			PreparePosition:     proto.Int64(p.From.Prepare),
			NextCommitPosition:  proto.Int64(p.Next.Commit),
			NextPreparePosition: proto.Int64(p.Next.Prepare),
			Result:              p.Result.Enum(),
			Error:               proto.String(p.Text),
		})
	})
}

// appendPositioned appends the events of a page of $all, whose links u may follow.
func (c *caller) appendPositioned(b []byte, u *eventlog.User, recs []*eventlog.Record, resolveLinks bool) []byte {
	b = slices.Grow(b, pageSize(recs))
	for _, r := range recs {
		event, link, _ := c.core.log.ResolveFor(u, r, resolveLinks)
		b = esproto.AppendPositionedEvent(b, 3, c.wire(event), c.wire(link), r.Commit, r.Prepare, c.core.persona.Style)
	}
	return b
}
