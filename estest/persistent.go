package estest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// groupResult is the result of creating, updating or deleting a group. The replies have the same fields, and the same
// numbers but for what 1 is called: the group exists already, or does not exist.
type groupResult int32

const (
	groupSuccess groupResult = iota
	groupExistence
	groupFail
	groupDenied
)

func (c *caller) replyGroup(f *frame, result groupResult, reason string) error {
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

func settingsOf(m *esproto.CreatePersistentSubscription) groupSettings {
	return groupSettings{
		resolveLinks:     m.GetResolveLinkTos(),
		startFrom:        m.GetStartFrom(),
		messageTimeout:   time.Duration(m.GetMessageTimeoutMilliseconds()) * time.Millisecond,
		recordStatistics: m.GetRecordStatistics(),
		liveBufferSize:   int(m.GetLiveBufferSize()),
		readBatchSize:    int(m.GetReadBatchSize()),
		bufferSize:       int(m.GetBufferSize()),
		maxRetryCount:    int(m.GetMaxRetryCount()),
		checkpointAfter:  time.Duration(m.GetCheckpointAfterTime()) * time.Millisecond,
		checkpointMax:    int64(m.GetCheckpointMaxCount()),
		checkpointMin:    int64(m.GetCheckpointMinCount()),
		maxSubscribers:   int(m.GetSubscriberMaxCount()),
		strategy:         strategyName(m.GetNamedConsumerStrategy(), m.GetPreferRoundRobin()),
	}
}

// settingsProblem says what is wrong with the settings of a group; nothing if they will do.
func (p *persona) settingsProblem(s *groupSettings) string {
	switch {
	case !p.knownStrategy(s.strategy):
		return fmt.Sprintf("Consumer strategy %s does not exist.", s.strategy)
	case p.checksGroupStart && s.startFrom < -1:
		return "Invalid start position: event number must be greater than or equal to -1."
	}
	return ""
}

// bufferProblem says what is wrong with the sizes of a group's buffers, which servers find when they make it.
func (p *persona) bufferProblem(s *groupSettings) string {
	if p.checksGroupBuffers && s.readBatchSize >= s.bufferSize {
		return "Invalid read batch size: it must be smaller than the buffer."
	}
	return ""
}

// streamProblem says what is wrong with the name of a group's stream.
func (p *persona) streamProblem(stream string) string {
	switch {
	case stream == allStream && p.hasGroupsOnAll:
		return "Persistent subscriptions to $all are not supported over TCP."
	case stream == "" || stream == allStream:
		return "Bad stream name."
	}
	return ""
}

func groupKey(stream, name string) string { return stream + "::" + name }

func (c *core) createGroup(u *user, stream, name string, s groupSettings) (groupResult, string) {
	if !c.mayManageGroups(u) {
		return groupDenied, "You do not have permissions to create streams"
	}
	exists := c.groups[groupKey(stream, name)] != nil
	problem := cmp.Or(c.persona.streamProblem(stream), c.persona.settingsProblem(&s))
	switch {
	case exists && (problem == "" || !c.persona.checksSettingsFirst):
		return groupExistence, fmt.Sprintf("Group '%s' already exists.", name)
	case problem == "":
		problem = c.persona.bufferProblem(&s)
	}
	if problem != "" {
		return groupFail, problem
	}
	c.addGroup(newGroup(c, stream, name, s))
	c.saveGroups(u)
	return groupSuccess, ""
}

func (c *core) updateGroup(u *user, stream, name string, s groupSettings) (groupResult, string) {
	g := c.groups[groupKey(stream, name)]
	switch {
	case !c.mayManageGroups(u):
		return groupDenied, "You do not have permissions to update the subscription"
	case c.persona.changeChecksStream && c.persona.streamProblem(stream) != "":
		return groupFail, c.persona.streamProblem(stream)
	case g == nil:
		return groupExistence, fmt.Sprintf("Group '%s' does not exist.", name)
	}
	if problem := cmp.Or(c.persona.settingsProblem(&s), c.persona.bufferProblem(&s)); problem != "" {
		return groupFail, problem
	}
	c.replaceGroup(g, newGroup(c, stream, name, s))
	c.saveGroups(u)
	return groupSuccess, ""
}

func (c *core) deleteGroup(u *user, stream, name string) (groupResult, string) {
	g := c.groups[groupKey(stream, name)]
	switch {
	case !c.mayManageGroups(u):
		return groupDenied, "You do not have permissions to create streams"
	case c.persona.changeChecksStream && c.persona.streamProblem(stream) != "":
		return groupFail, c.persona.streamProblem(stream)
	case g == nil:
		return groupExistence, fmt.Sprintf("Group '%s' does not exist.", name)
	}
	c.removeGroup(g)
	g.forget()
	c.saveGroups(u)
	return groupSuccess, ""
}

func (c *core) addGroup(g *group) {
	c.groups[g.id()] = g
	c.byGroup[g.stream] = append(c.byGroup[g.stream], g)
	c.listed = append(c.listed, g)
}

// replaceGroup puts a group in the place of another of the same name.
func (c *core) replaceGroup(old, g *group) {
	i := slices.Index(c.listed, old)
	c.removeGroup(old)
	c.addGroup(g)
	if c.persona.changedGroupStays {
		c.listed = slices.Insert(c.listed[:len(c.listed)-1], i, g)
	}
}

// removeGroup takes a group away from its clients, who are told that they are unsubscribed.
func (c *core) removeGroup(g *group) {
	c.dropClients(g)
	delete(c.groups, g.id())
	c.listed = slices.DeleteFunc(c.listed, func(o *group) bool { return o == g })
	left := slices.DeleteFunc(c.byGroup[g.stream], func(o *group) bool { return o == g })
	if len(left) == 0 {
		delete(c.byGroup, g.stream)
		return
	}
	c.byGroup[g.stream] = left
}

func (c *core) dropClients(g *group) {
	for _, cl := range g.clients {
		cl.caller.drop(cl.id, esproto.SubscriptionDropped_Unsubscribed)
	}
	g.clients = nil
}

func (c *core) sortedGroups() []*group {
	return slices.SortedFunc(maps.Values(c.groups), func(a, b *group) int { return cmp.Compare(a.id(), b.id()) })
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
		return nil // the server trips over the empty name, without a reply
	}
	g := core.groups[groupKey(stream, m.GetSubscriptionId())]
	switch {
	case !core.allowed(f.user, rightRead, stream), f.user == nil && core.persona.joiningNeedsUser:
		c.drop(f.id, esproto.SubscriptionDropped_AccessDenied)
		return nil
	case g == nil:
		c.drop(f.id, esproto.SubscriptionDropped_NotFound)
		return nil
	case g.settings.maxSubscribers != 0 && len(g.clients) >= g.settings.maxSubscribers:
		c.drop(f.id, esproto.SubscriptionDropped_SubscriberMaxCountReached)
		return nil
	}
	c.reply(esproto.CmdPersistentSubscriptionConfirmation, f.id, &esproto.PersistentSubscriptionConfirmation{
		LastCommitPosition: proto.Int64(core.lastCommit),
		SubscriptionId:     proto.String(g.id()),
		LastEventNumber:    proto.Int64(c.narrow(core.lastNumber(stream))),
	})
	if g.faulted {
		c.drop(f.id, esproto.SubscriptionDropped_Unsubscribed)
		return nil
	}
	if slices.ContainsFunc(g.clients, func(o *client) bool { return o.id == f.id }) {
		return nil // the correlation id is that of another client: this one is confirmed and then gets nothing
	}
	g.join(&client{
		group: g, caller: c, id: f.id, user: f.user, allowed: int(m.GetAllowedInFlightMessages()),
		held: make(map[esproto.GUID]*message),
	})
	return nil
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
	if g := c.core.groups[name]; g != nil {
		g.settle(ids, f.id)
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
	if g := c.core.groups[m.GetSubscriptionId()]; g != nil {
		g.nak(ids, f.id, m.GetAction(), m.GetMessage())
	}
	return nil
}

// unsubscribePersistent ends the subscriptions with this correlation id, if there are any.
func (c *core) unsubscribePersistent(id esproto.CorrelationID) {
	for _, g := range c.groups {
		for _, cl := range g.clients {
			if cl.id == id {
				cl.caller.drop(id, esproto.SubscriptionDropped_Unsubscribed)
				g.leave(func(o *client) bool { return o == cl }, false)
				break
			}
		}
	}
}

// dropPersistent forgets the clients of a connection that has ended.
func (c *core) dropPersistent(gone *caller) {
	isGone := func(cl *client) bool { return cl.caller == gone }
	for _, g := range c.groups {
		if slices.ContainsFunc(g.clients, isGone) {
			g.leave(isGone, true)
		}
	}
}

// notifyGroups observes the log: it hands what is committed to the groups of the stream.
func (c *core) notifyGroups(made commit) {
	if made.stream == nil {
		return
	}
	for _, g := range c.byGroup[made.stream.name] {
		for _, r := range made.records {
			g.written(r)
		}
	}
}

// tickPersistent lets the groups look at the clock.
func (c *core) tickPersistent(now time.Time) {
	for _, g := range c.groups {
		g.tick(now)
	}
}
