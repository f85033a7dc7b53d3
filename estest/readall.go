package estest

import (
	"sort"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// position is a place in the log.
type position struct{ commit, prepare int64 }

func (p position) before(q position) bool {
	return p.commit < q.commit || p.commit == q.commit && p.prepare < q.prepare
}

func (r *record) position() position { return position{r.commit, r.prepare} }

// after is the position to read on from behind a record: in a transaction within its commit, else behind the record.
func (c *core) after(i int) position {
	r := c.log[i]
	if r.commit != r.prepare {
		return position{r.commit, r.prepare + 1}
	}
	return position{r.commit + 1, 0}
}

// indexFrom returns the index in the log of the first record at or behind p.
func (c *core) indexFrom(p position) int {
	return sort.Search(len(c.log), func(i int) bool { return !c.log[i].position().before(p) })
}

// allPage is the result of a read of $all.
type allPage struct {
	result esproto.ReadAllEventsCompleted_ReadAllResult
	text   string
	from   position
	recs   []*record
	next   position
}

func (c *conn) readAllForward(f *frame) error {
	return c.readAll(f, esproto.CmdReadAllEventsForwardCompleted, (*core).allForward)
}

func (c *conn) readAllBackward(f *frame) error {
	return c.readAll(f, esproto.CmdReadAllEventsBackwardCompleted, (*core).allBackward)
}

func (c *conn) readAll(f *frame, reply esproto.Command, read func(*core, position, int) ([]*record, position)) error {
	var m esproto.ReadAllEvents
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	p := c.core.readAllPage(f.user, &m, read)
	for _, r := range p.recs {
		if _, _, ok := c.core.resolveFor(f.user, r, m.GetResolveLinkTos()); !ok {
			p = deniedAll(p.from)
			break
		}
	}
	c.send(reply, f.id, func(b []byte) []byte {
		for _, r := range p.recs {
			event, link, _ := c.core.resolveFor(f.user, r, m.GetResolveLinkTos())
			b = esproto.AppendPositionedEvent(b, 3, c.wire(event), c.wire(link), r.commit, r.prepare, c.core.persona.style)
		}
		b, _ = proto.MarshalOptions{}.MarshalAppend(b, &esproto.ReadAllEventsCompleted{
			CommitPosition:      proto.Int64(p.from.commit),
			PreparePosition:     proto.Int64(p.from.prepare),
			NextCommitPosition:  proto.Int64(p.next.commit),
			NextPreparePosition: proto.Int64(p.next.prepare),
			Result:              p.result.Enum(),
			Error:               proto.String(p.text),
		})
		return b
	})
	return nil
}

func deniedAll(from position) allPage {
	return allPage{result: esproto.ReadAllEventsCompleted_AccessDenied, from: from, next: position{-1, -1}}
}

func (c *core) readAllPage(u *user, m *esproto.ReadAllEvents, read func(*core, position, int) ([]*record, position)) allPage {
	from := position{m.GetCommitPosition(), m.GetPreparePosition()}
	bad := func(text string) allPage {
		return allPage{result: esproto.ReadAllEventsCompleted_Error, text: text, from: from, next: position{-1, -1}}
	}
	if m.GetMaxCount() > esproto.MaxReadCount {
		return bad("Read size too big, should be less than 4096 items")
	}
	end := position{c.end, c.end}
	if from == (position{-1, -1}) {
		from = end
	}
	if !c.allowed(u, rightRead, allStream) {
		return deniedAll(from)
	}
	if from.commit < 0 || from.prepare < 0 || end.before(from) || m.GetMaxCount() < 0 {
		return bad("Invalid position.")
	}
	p := allPage{result: esproto.ReadAllEventsCompleted_Success, from: from}
	p.recs, p.next = read(c, from, int(m.GetMaxCount()))
	return p
}

// allForward reads the records at and behind a position.
func (c *core) allForward(from position, count int) ([]*record, position) {
	i := c.indexFrom(from)
	n := min(count, len(c.log)-i)
	if n == 0 {
		return nil, from
	}
	return c.log[i : i+n], c.after(i + n - 1)
}

// allBackward reads the records before a position, the last one first.
func (c *core) allBackward(from position, count int) ([]*record, position) {
	i := c.indexFrom(from)
	n := min(count, i)
	if n == 0 {
		return nil, from
	}
	recs := make([]*record, n)
	for k := range recs {
		recs[k] = c.log[i-1-k]
	}
	return recs, recs[n-1].position()
}

// scavenge refuses, or answers that there is nothing to do: the log is in memory and is never cleaned up.
func (c *conn) scavenge(f *frame) error {
	if !f.user.isAdmin() && !f.user.in(groupOps) {
		reply := &esproto.ScavengeDatabaseResponse{Result: esproto.ScavengeDatabaseResponse_Unauthorized.Enum()}
		if c.core.persona.scavengeReports {
			reply.ScavengeId, reply.TotalTimeMs, reply.TotalSpaceSaved = proto.String(textDenied), proto.Int32(0), proto.Int64(0)
		}
		c.reply(esproto.CmdScavengeDatabaseResponse, f.id, reply)
		return nil
	}
	reply := &esproto.ScavengeDatabaseResponse{Result: esproto.ScavengeDatabaseResponse_Started.Enum()}
	if c.core.persona.scavengeReports {
		reply.TotalTimeMs, reply.TotalSpaceSaved = proto.Int32(0), proto.Int64(0)
	} else {
		reply.ScavengeId = proto.String(newGUID().String())
	}
	c.reply(esproto.CmdScavengeDatabaseResponse, f.id, reply)
	return nil
}
