package estest

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// volatileSub is a volatile subscription. Its correlation id identifies it on the whole server.
type volatileSub struct {
	caller       *caller
	id           esproto.CorrelationID
	stream       string // empty for all streams
	after        int64  // last event number of the stream when the subscription began
	resolveLinks bool

	filter     *filter // nil for all events
	interval   int     // number of events between two checkpoints, matching or not; 0 for no checkpoints
	considered int     // number of events since the last checkpoint
}

// volatileSet has the volatile subscriptions of a server. It observes the log for them.
type volatileSet struct {
	byID     map[esproto.CorrelationID]*volatileSub
	byStream map[string][]*volatileSub // "" is all streams
}

func newVolatileSet() *volatileSet {
	return &volatileSet{
		byID: make(map[esproto.CorrelationID]*volatileSub), byStream: make(map[string][]*volatileSub),
	}
}

// add begins a subscription. An earlier one with the same correlation id stays until its connection ends.
func (v *volatileSet) add(sub *volatileSub) {
	v.byID[sub.id] = sub
	v.byStream[sub.stream] = append(v.byStream[sub.stream], sub)
}

// unsubscribe drops the subscription with a correlation id, if there is one.
func (v *volatileSet) unsubscribe(id esproto.CorrelationID) {
	sub := v.byID[id]
	if sub == nil {
		return
	}
	delete(v.byID, id)
	v.remove(sub.stream, func(s *volatileSub) bool { return s == sub })
	sub.caller.drop(id, esproto.SubscriptionDropped_Unsubscribed)
}

// lost removes the subscriptions of a client whose connection has ended.
func (v *volatileSet) lost(gone *caller) {
	for stream := range v.byStream {
		v.remove(stream, func(s *volatileSub) bool {
			if s.caller == gone && v.byID[s.id] == s {
				delete(v.byID, s.id)
			}
			return s.caller == gone
		})
	}
}

func (v *volatileSet) remove(stream string, gone func(s *volatileSub) bool) {
	left := slices.DeleteFunc(v.byStream[stream], gone)
	if len(left) == 0 {
		delete(v.byStream, stream)
		return
	}
	v.byStream[stream] = left
}

// dropAll drops all subscriptions.
func (v *volatileSet) dropAll() {
	for _, sub := range v.byID {
		sub.caller.drop(sub.id, esproto.SubscriptionDropped_Unsubscribed)
	}
	clear(v.byID)
	clear(v.byStream)
}

// observe is an observer of the log: it pushes committed events to the subscriptions.
func (v *volatileSet) observe(made eventlog.Commit) {
	if made.Stream == nil || len(v.byStream) == 0 {
		return
	}
	for _, sub := range v.byStream[made.Stream.Name] {
		sub.deliver(made.Records)
	}
	for _, sub := range v.byStream[""] {
		sub.deliver(made.Records)
	}
}

func (s *volatileSub) deliver(recs []*eventlog.Record) {
	for _, r := range recs {
		if s.picks(r) {
			s.pushOne(r)
		}
		s.consider(r)
	}
}

func (s *volatileSub) picks(r *eventlog.Record) bool {
	return r.Number > s.after && (s.stream != "" || !s.caller.core.log.Hidden(r)) &&
		(s.filter == nil || s.filter.picks(r))
}

func (s *volatileSub) pushOne(r *eventlog.Record) {
	core := s.caller.core
	event, link := r, (*eventlog.Record)(nil)
	if s.resolveLinks {
		event, link = core.log.ResolvePushed(r, false) // servers do not check the rights on the target
	}
	s.caller.push(esproto.CmdStreamEventAppeared, s.id, func(b []byte) []byte {
		return esproto.AppendStreamEventAppeared(
			b, s.caller.wire(event), s.caller.wire(link), r.Commit, r.Prepare, core.persona.Style,
		)
	})
}

// consider counts an event, whether the filter picks it or not, and pushes a checkpoint at the end of each interval.
func (s *volatileSub) consider(r *eventlog.Record) {
	if s.interval == 0 {
		return
	}
	if s.considered++; s.considered < s.interval {
		return
	}
	s.considered = 0
	s.caller.push(esproto.CmdCheckpointReached, s.id, func(b []byte) []byte {
		return s.caller.core.persona.marshal(b, &esproto.CheckpointReached{
			CommitPosition: proto.Int64(r.Commit), PreparePosition: proto.Int64(r.Prepare),
		})
	})
}
