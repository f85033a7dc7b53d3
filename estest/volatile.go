package estest

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// volatileSub is a volatile subscription. Its correlation id names it on the whole server.
type volatileSub struct {
	caller       *caller
	id           esproto.CorrelationID
	stream       string // empty for all streams
	after        int64  // the stream's last number when it began
	resolveLinks bool

	filter     *filter // nil to get everything
	interval   int     // how many events are looked at between checkpoints; 0 if there are none
	considered int     // since the last checkpoint
}

func (c *caller) subscribe(f *frame) error {
	var m esproto.SubscribeToStream
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	sub := &volatileSub{caller: c, id: f.id, stream: m.GetEventStreamId(), resolveLinks: m.GetResolveLinkTos()}
	if m.EventStreamId == nil && c.core.persona.subscribingNeedsName && c.core.allowed(f.user, rightRead, allStream) {
		return nil // the server trips over a name that is not there, without a reply
	}
	c.addVolatile(f.user, sub)
	return nil
}

func (c *caller) subscribeFiltered(f *frame) error {
	var m esproto.FilteredSubscribeToStream
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	picked, err := filterOf(m.GetFilter())
	if err != nil {
		return err
	}
	sub := &volatileSub{
		caller: c, id: f.id, stream: m.GetEventStreamId(), resolveLinks: m.GetResolveLinkTos(), filter: &picked,
	}
	if n := int(m.GetCheckpointInterval()); n >= 0 {
		sub.interval = max(n, 1)
	}
	c.addVolatile(f.user, sub)
	return nil
}

// addVolatile confirms a subscription, or drops it if the user may not read what it is for.
func (c *caller) addVolatile(u *user, sub *volatileSub) {
	core, name := c.core, sub.stream
	readable := name
	if name == "" {
		readable = allStream
	}
	if !core.allowed(u, rightRead, readable) {
		c.drop(sub.id, esproto.SubscriptionDropped_AccessDenied)
		return
	}
	reply := &esproto.SubscriptionConfirmation{LastCommitPosition: proto.Int64(core.lastCommit)}
	sub.after = -1
	if name != "" {
		sub.after = core.lastNumber(name)
		reply.LastEventNumber = proto.Int64(c.narrow(sub.after))
	}
	core.volatile[sub.id] = sub // an earlier one with the same id goes on until its connection ends
	core.byStream[name] = append(core.byStream[name], sub)
	c.reply(esproto.CmdSubscriptionConfirmation, sub.id, reply)
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

func (c *caller) drop(id esproto.CorrelationID, reason esproto.SubscriptionDropped_SubscriptionDropReason) {
	c.reply(esproto.CmdSubscriptionDropped, id, &esproto.SubscriptionDropped{Reason: reason.Enum()})
}

// unsubscribe ends the subscription with the frame's correlation id, whoever has it and of whichever kind it is. An
// unknown one gets no reply.
func (c *caller) unsubscribe(f *frame) error {
	if sub := c.core.volatile[f.id]; sub != nil {
		c.core.dropVolatileSub(sub)
		sub.caller.drop(f.id, esproto.SubscriptionDropped_Unsubscribed)
	}
	c.core.groups.Unsubscribe(f.id)
	return nil
}

func (c *core) dropVolatileSub(sub *volatileSub) {
	delete(c.volatile, sub.id)
	c.removeVolatile(sub.stream, func(s *volatileSub) bool { return s == sub })
}

func (c *core) removeVolatile(stream string, gone func(s *volatileSub) bool) {
	left := slices.DeleteFunc(c.byStream[stream], gone)
	if len(left) == 0 {
		delete(c.byStream, stream)
		return
	}
	c.byStream[stream] = left
}

// dropVolatile forgets the subscriptions of a client whose connection has ended.
func (c *core) dropVolatile(gone *caller) {
	for stream := range c.byStream {
		c.removeVolatile(stream, func(s *volatileSub) bool {
			if s.caller == gone && c.volatile[s.id] == s {
				delete(c.volatile, s.id)
			}
			return s.caller == gone
		})
	}
}

// notifySubscribers observes the log: it sends what is committed to whoever has subscribed.
func (c *core) notifySubscribers(made commit) {
	if made.stream == nil || len(c.byStream) == 0 {
		return
	}
	for _, sub := range c.byStream[made.stream.name] {
		sub.deliver(made.records)
	}
	for _, sub := range c.byStream[""] {
		sub.deliver(made.records)
	}
}

func (s *volatileSub) deliver(recs []*record) {
	for _, r := range recs {
		if s.picks(r) {
			s.pushOne(r)
		}
		s.consider(r)
	}
}

func (s *volatileSub) picks(r *record) bool {
	return r.number > s.after && (s.stream != "" || !s.caller.core.persona.hidden(r)) &&
		(s.filter == nil || s.filter.picks(r))
}

func (s *volatileSub) pushOne(r *record) {
	core := s.caller.core
	event, link := r, (*record)(nil)
	if s.resolveLinks {
		event, link = core.resolvePushed(r, false) // the rights on the target are not looked at
	}
	s.caller.push(esproto.CmdStreamEventAppeared, s.id, func(b []byte) []byte {
		return esproto.AppendStreamEventAppeared(
			b, s.caller.wire(event), s.caller.wire(link), r.commit, r.prepare, core.persona.style,
		)
	})
}

// consider counts an event, whether it was picked or not, and tells the client of each interval's last.
func (s *volatileSub) consider(r *record) {
	if s.interval == 0 {
		return
	}
	if s.considered++; s.considered < s.interval {
		return
	}
	s.considered = 0
	s.caller.push(esproto.CmdCheckpointReached, s.id, func(b []byte) []byte {
		return s.caller.core.persona.marshal(b, &esproto.CheckpointReached{
			CommitPosition: proto.Int64(r.commit), PreparePosition: proto.Int64(r.prepare),
		})
	})
}
