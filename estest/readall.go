package estest

import (
	"math"
	"slices"
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

// afterwards is the position to read on from behind a record: in a transaction within its commit, else behind the
// record.
func (r *record) afterwards() position {
	if r.commit != r.prepare {
		return position{r.commit, r.prepare + r.size()}
	}
	return position{r.commit + r.size(), 0}
}

// backwards is the position to read backward from to what is before a record.
func (r *record) backwards() position {
	if r.commit != r.prepare {
		return position{r.commit + commitRecordSize, r.prepare}
	}
	return r.position()
}

// ending is the first position from which a record is read backward.
func (r *record) ending() position {
	if r.commit != r.prepare {
		return position{r.commit + commitRecordSize, r.prepare + r.size()}
	}
	return position{r.commit + r.size(), r.commit + r.size()}
}

// indexFrom returns the index in the log of the first record at or behind p.
func (l *eventLog) indexFrom(p position) int {
	return sort.Search(len(l.records), func(i int) bool { return !l.records[i].position().before(p) })
}

// indexBefore returns how many records of the log end at or before p.
func (l *eventLog) indexBefore(p position) int {
	return sort.Search(len(l.records), func(i int) bool { return p.before(l.records[i].ending()) })
}

// allPage is the result of a read of $all.
type allPage struct {
	result esproto.ReadAllEventsCompleted_ReadAllResult
	text   string
	from   position
	recs   []*record
	next   position
	end    bool
}

// allScan is what a read of $all looks for, and for how long.
type allScan struct {
	picks   func(r *record) bool // nil for everything
	forward bool
	count   int // how many events make a page
	window  int // how many events are looked at for them
}

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
	scan := allScan{forward: forward, count: int(m.GetMaxCount()), window: math.MaxInt}
	p := c.core.readAllPage(f.user, position{m.GetCommitPosition(), m.GetPreparePosition()}, &scan)
	c.sendAllPage(allReply(forward), f, &p, m.GetResolveLinkTos())
	return nil
}

// sendAllPage encodes a page straight into what is sent.
func (c *caller) sendAllPage(reply esproto.Command, f *frame, p *allPage, resolveLinks bool) {
	for _, r := range p.recs {
		if _, _, ok := c.core.resolveFor(f.user, r, resolveLinks); !ok {
			*p = deniedLink(p.from)
			break
		}
	}
	c.send(reply, f.id, func(b []byte) []byte {
		b = c.appendPositioned(b, f.user, p.recs, resolveLinks)
		return c.core.persona.marshal(b, &esproto.ReadAllEventsCompleted{
			CommitPosition:      proto.Int64(p.from.commit),
			PreparePosition:     proto.Int64(p.from.prepare),
			NextCommitPosition:  proto.Int64(p.next.commit),
			NextPreparePosition: proto.Int64(p.next.prepare),
			Result:              p.result.Enum(),
			Error:               proto.String(p.text),
		})
	})
}

// appendPositioned appends the events of a page of $all, whose links u may follow.
func (c *caller) appendPositioned(b []byte, u *user, recs []*record, resolveLinks bool) []byte {
	b = slices.Grow(b, pageSize(recs))
	for _, r := range recs {
		event, link, _ := c.core.resolveFor(u, r, resolveLinks)
		b = esproto.AppendPositionedEvent(b, 3, c.wire(event), c.wire(link), r.commit, r.prepare, c.core.persona.style)
	}
	return b
}

// deniedLink is the page of a user who may read $all, but not a stream that a link in it leads to.
func deniedLink(from position) allPage {
	return allPage{result: esproto.ReadAllEventsCompleted_AccessDenied, from: from, next: position{-1, -1}}
}

// deniedAll is the page of a user who may not read $all.
func (l *eventLog) deniedAll(from position) allPage {
	p := deniedLink(from)
	if text := l.facts.refusal(); text != nil {
		p.from, p.text = position{-1, -1}, *text
	}
	return p
}

func (l *eventLog) readAllPage(u *user, from position, scan *allScan) allPage {
	bad := func(text string) allPage {
		return allPage{result: esproto.ReadAllEventsCompleted_Error, text: text, from: from, next: position{-1, -1}}
	}
	mayRead := l.allowed(u, rightRead, allStream)
	if !mayRead && l.facts.readRightIsFirst {
		return l.deniedAll(from)
	}
	if scan.count > esproto.MaxReadCount {
		return bad("Read size too big, should be less than 4096 items")
	}
	if from == (position{-1, -1}) {
		from = position{l.end, l.end}
	}
	if from.commit < 0 || from.prepare < 0 {
		return bad("Invalid position.")
	}
	if !mayRead {
		return l.deniedAll(from)
	}
	if scan.count > 0 && !l.readable(from, scan.forward) {
		return bad("Invalid position.")
	}
	p := allPage{result: esproto.ReadAllEventsCompleted_Success, from: from}
	p.recs, p.next, p.end = l.scanAll(from, scan)
	return p
}

// readable reports whether a read may begin at a position: where a record begins, or forward behind the last one.
func (l *eventLog) readable(from position, forward bool) bool {
	return forward && from.commit > l.lastCommit || l.begins(from.commit)
}

// scanAll reads the records at and behind a position, or those before it, the last one first. end is true if there were
// no more; whoever stops at the last record has not noticed.
func (l *eventLog) scanAll(from position, scan *allScan) (recs []*record, next position, end bool) {
	i := l.indexFrom(from)
	if !scan.forward {
		i = l.indexBefore(from)
	}
	next = from
	for seen := 0; len(recs) < scan.count && seen < scan.window; seen++ {
		if scan.forward && i == len(l.records) || !scan.forward && i == 0 {
			return recs, next, true
		}
		if !scan.forward {
			i--
		}
		r := l.records[i]
		if !l.facts.hidden(r) && (scan.picks == nil || scan.picks(r)) {
			recs = append(recs, r)
		}
		if next = r.backwards(); scan.forward {
			next = r.afterwards()
			i++
		}
	}
	return recs, next, false
}

// scavenge refuses, or answers that there is nothing to do: the log is in memory and is never cleaned up.
func (c *caller) scavenge(f *frame) error {
	if !f.user.isOperator() {
		if c.core.persona.scavengeRefusalIsLost {
			return nil
		}
		reply := &esproto.ScavengeDatabaseResponse{Result: esproto.ScavengeDatabaseResponse_Unauthorized.Enum()}
		if c.core.persona.scavengeRepliesTotals {
			reply.ScavengeId = proto.String(c.core.persona.deniedText)
			reply.TotalTimeMs, reply.TotalSpaceSaved = proto.Int32(0), proto.Int64(0)
		}
		c.reply(esproto.CmdScavengeDatabaseResponse, f.id, reply)
		return nil
	}
	reply := &esproto.ScavengeDatabaseResponse{Result: esproto.ScavengeDatabaseResponse_Started.Enum()}
	if c.core.persona.scavengeRepliesTotals {
		reply.TotalTimeMs, reply.TotalSpaceSaved = proto.Int32(0), proto.Int64(0)
	} else {
		reply.ScavengeId = proto.String(newGUID().String())
	}
	c.reply(esproto.CmdScavengeDatabaseResponse, f.id, reply)
	return nil
}
