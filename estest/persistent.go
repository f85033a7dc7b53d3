package estest

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

func (c *caller) replyGroup(f *frame, result groups.Result, reason string) error {
	r := esproto.CreatePersistentSubscriptionCompleted_CreatePersistentSubscriptionResult(result)
	c.reply(f.cmd+1, f.id, &esproto.CreatePersistentSubscriptionCompleted{Result: &r, Reason: proto.String(reason)})
	return nil
}

func (c *caller) createPersistent(f *frame) error {
	var m esproto.CreatePersistentSubscription
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	result, reason := c.core.createGroup(f.user, m.GetEventStreamId(), m.GetSubscriptionGroupName(), settingsOf(&m))
	return c.replyGroup(f, result, reason)
}

func (c *caller) updatePersistent(f *frame) error {
	var m esproto.CreatePersistentSubscription
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	result, reason := c.core.updateGroup(f.user, m.GetEventStreamId(), m.GetSubscriptionGroupName(), settingsOf(&m))
	return c.replyGroup(f, result, reason)
}

func (c *caller) deletePersistent(f *frame) error {
	var m esproto.DeletePersistentSubscription
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	result, reason := c.core.deleteGroup(f.user, m.GetEventStreamId(), m.GetSubscriptionGroupName())
	return c.replyGroup(f, result, reason)
}

func settingsOf(m *esproto.CreatePersistentSubscription) groups.Settings {
	return groups.Settings{
		ResolveLinks:     m.GetResolveLinkTos(),
		StartFrom:        m.GetStartFrom(),
		MessageTimeout:   time.Duration(m.GetMessageTimeoutMilliseconds()) * time.Millisecond,
		RecordStatistics: m.GetRecordStatistics(),
		LiveBufferSize:   int(m.GetLiveBufferSize()),
		ReadBatchSize:    int(m.GetReadBatchSize()),
		BufferSize:       int(m.GetBufferSize()),
		MaxRetryCount:    int(m.GetMaxRetryCount()),
		CheckpointAfter:  time.Duration(m.GetCheckpointAfterTime()) * time.Millisecond,
		CheckpointMax:    int64(m.GetCheckpointMaxCount()),
		CheckpointMin:    int64(m.GetCheckpointMinCount()),
		MaxSubscribers:   int(m.GetSubscriberMaxCount()),
		Strategy:         groups.StrategyName(m.GetNamedConsumerStrategy(), m.GetPreferRoundRobin()),
	}
}

// createGroup makes a group if the user may create one.
func (c *core) createGroup(u *eventlog.User, stream, name string, s groups.Settings) (groups.Result, string) {
	if !c.log.MayManageGroups(u) {
		return groups.Denied, "You do not have permissions to create streams"
	}
	return c.groups.Create(loginOf(u), stream, name, s)
}

// updateGroup gives a group other settings if the user may change it.
func (c *core) updateGroup(u *eventlog.User, stream, name string, s groups.Settings) (groups.Result, string) {
	if !c.log.MayManageGroups(u) {
		return groups.Denied, "You do not have permissions to update the subscription"
	}
	return c.groups.Update(loginOf(u), stream, name, s)
}

// deleteGroup deletes a group if the user may delete it.
func (c *core) deleteGroup(u *eventlog.User, stream, name string) (groups.Result, string) {
	if !c.log.MayManageGroups(u) {
		return groups.Denied, "You do not have permissions to create streams"
	}
	return c.groups.Delete(loginOf(u), stream, name)
}

// CreateGroupOnAll creates a persistent subscription group on $all, from the first event on, as clients of the gRPC
// protocol can from 21.10 on. HTTP lists it beside the others as a group of the stream $all, with positions in place of
// event numbers. Clients over TCP cannot create, change or delete it, and cannot consume it on this server.
// CreateGroupOnAll returns an error if the group exists or the version has no such groups, and [ErrNoLeader] on a node
// of a cluster that cannot write at the moment.
func (s *Server) CreateGroupOnAll(name string) error {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	c := s.writer()
	switch {
	case c == nil:
		return ErrNoLeader
	case !c.persona.HasGroupsOnAll:
		return fmt.Errorf("estest: servers of version %s have no groups on $all", c.persona.version)
	case name == "":
		return errors.New("estest: the name of the group is empty")
	case !c.groups.CreateOnAll(eventlog.System.Login, name):
		return fmt.Errorf("estest: there is a group %q on $all already", name)
	}
	return nil
}

// loginOf returns the login of a user; empty without a user.
func loginOf(u *eventlog.User) string {
	if u == nil {
		return ""
	}
	return u.Login
}

func (c *caller) connectPersistent(f *frame) error {
	var m esproto.ConnectToPersistentSubscription
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if m.GetAllowedInFlightMessages() < 0 {
		return errors.New("the number of messages in flight is negative")
	}
	if m.GetSubscriptionId() == "" {
		return errors.New("the name of the group is empty")
	}
	core, stream := c.core, m.GetEventStreamId()
	if stream == "" && core.persona.joiningNeedsName {
		return nil // the server fails without a reply if the name is empty
	}
	g := core.groups.Find(stream, m.GetSubscriptionId())
	switch {
	case !core.log.Allowed(f.user, eventlog.RightRead, stream), f.user == nil && core.persona.joiningNeedsUser:
		c.drop(f.id, esproto.SubscriptionDropped_AccessDenied)
		return nil
	case g == nil:
		c.drop(f.id, esproto.SubscriptionDropped_NotFound)
		return nil
	case g.Full():
		c.drop(f.id, esproto.SubscriptionDropped_SubscriberMaxCountReached)
		return nil
	}
	c.reply(esproto.CmdPersistentSubscriptionConfirmation, f.id, &esproto.PersistentSubscriptionConfirmation{
		LastCommitPosition: proto.Int64(core.log.LastCommit()),
		SubscriptionId:     proto.String(g.ID()),
		LastEventNumber:    proto.Int64(c.narrow(core.log.LastNumber(stream))),
	})
	g.Join(&subscriber{caller: c, id: f.id, user: f.user}, f.id, c.id, int(m.GetAllowedInFlightMessages()))
	return nil
}

// subscriber is a consumer of a group at the client's end of a connection.
type subscriber struct {
	caller *caller
	id     esproto.CorrelationID
	user   *eventlog.User
}

func (s *subscriber) Deliver(event, link *eventlog.Record, retries int) {
	c := s.caller
	c.push(esproto.CmdPersistentSubscriptionStreamEventAppeared, s.id, func(b []byte) []byte {
		return esproto.AppendPersistentEvent(b, c.wire(event), c.wire(link), int32(retries), c.core.persona.Style)
	})
}

func (s *subscriber) Drop() { s.caller.drop(s.id, esproto.SubscriptionDropped_Unsubscribed) }

func (s *subscriber) Peer() groups.Peer {
	return groups.Peer{Address: s.caller.addr, Login: loginOf(s.user), Connection: s.caller.name}
}

func (c *caller) ackPersistent(f *frame) error {
	name, ids, err := esproto.DecodeAck(f.payload, c.ackIDs[:0])
	if err != nil {
		return err
	}
	c.ackIDs = ids
	switch {
	case name == "":
		return errors.New("the id of the subscription is empty")
	case len(ids) == 0 && !c.core.persona.emptyAckIsTaken:
		return errors.New("there are no event ids")
	}
	if g := c.core.groups.ByID(name); g != nil {
		g.Ack(ids, f.id)
	}
	return nil
}

func (c *caller) nakPersistent(f *frame) error {
	var m esproto.PersistentSubscriptionNakEvents
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	_, ids, err := esproto.DecodeAck(f.payload, c.ackIDs[:0])
	if err != nil {
		return err
	}
	if c.ackIDs = ids; len(ids) == 0 && !c.core.persona.emptyAckIsTaken {
		return errors.New("there are no event ids")
	}
	if g := c.core.groups.ByID(m.GetSubscriptionId()); g != nil {
		g.Nak(ids, f.id, m.GetAction(), m.GetMessage())
	}
	return nil
}
