package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (c *caller) subscribe(f *frame) error {
	var m esproto.SubscribeToStream
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	sub := &volatileSub{caller: c, id: f.id, stream: m.GetEventStreamId(), resolveLinks: m.GetResolveLinkTos()}
	mayReadAll := c.core.log.Allowed(f.user, eventlog.RightRead, eventlog.AllStream)
	if m.EventStreamId == nil && c.core.persona.subscribingNeedsName && mayReadAll {
		return nil // the server fails without a reply if the name is missing
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

// addVolatile confirms a subscription, or drops it if the user may not read the stream.
func (c *caller) addVolatile(u *eventlog.User, sub *volatileSub) {
	core, name := c.core, sub.stream
	readable := name
	if name == "" {
		readable = eventlog.AllStream
	}
	if !core.log.Allowed(u, eventlog.RightRead, readable) {
		c.drop(sub.id, esproto.SubscriptionDropped_AccessDenied)
		return
	}
	reply := &esproto.SubscriptionConfirmation{LastCommitPosition: proto.Int64(core.log.LastCommit())}
	sub.after = -1
	if name != "" {
		sub.after = core.log.LastNumber(name)
		reply.LastEventNumber = proto.Int64(c.narrow(sub.after))
	}
	core.volatile.add(sub)
	c.reply(esproto.CmdSubscriptionConfirmation, sub.id, reply)
}

func (c *caller) drop(id esproto.CorrelationID, reason esproto.SubscriptionDropped_SubscriptionDropReason) {
	c.reply(esproto.CmdSubscriptionDropped, id, &esproto.SubscriptionDropped{Reason: reason.Enum()})
}

// unsubscribe ends the subscriptions with the correlation id of the frame, volatile and persistent ones, also those of
// another connection. An unknown correlation id gets no reply.
func (c *caller) unsubscribe(f *frame) error {
	c.core.volatile.unsubscribe(f.id)
	c.core.groups.Unsubscribe(f.id)
	return nil
}
