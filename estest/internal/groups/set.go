package groups

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Config configures a Set.
type Config struct {
	Log      *eventlog.Log
	Facts    *Facts
	Logger   *slog.Logger
	Now      func() time.Time
	Majority func() bool // whether the node may write: a leader without a majority must not
}

// Set has all groups of a server. Add its Observe to the observers of the log. The lock of the log guards it.
type Set struct {
	cfg      Config
	byID     map[string]*Group
	byStream map[string][]*Group
	listed   []*Group // in the order of the configuration
	onAll    map[string]*AllGroup
}

// NewSet returns a set without groups. Restart reads the groups of the log.
func NewSet(cfg Config) *Set {
	return &Set{
		cfg: cfg, byID: make(map[string]*Group), byStream: make(map[string][]*Group),
		onAll: make(map[string]*AllGroup),
	}
}

// Result is the result of creating, updating or deleting a group. Its values are those of the three replies in the
// protocol.
type Result int32

// The results.
const (
	Success   Result = iota
	Existence        // the group to create exists, or the group to change does not
	Fail             // the request makes no sense
	Denied           // the user may not do it; a Set never says so
)

// IDOf returns the ID of a group, which acks name.
func IDOf(stream, name string) string { return stream + "::" + name }

// Find returns the group of that name on a stream, or nil.
func (s *Set) Find(stream, name string) *Group { return s.byID[IDOf(stream, name)] }

// ByID returns the group with the ID id, or nil.
func (s *Set) ByID(id string) *Group { return s.byID[id] }

// All returns the groups on streams in the order of their IDs.
func (s *Set) All() []*Group {
	return slices.SortedFunc(maps.Values(s.byID), func(a, b *Group) int { return cmp.Compare(a.ID(), b.ID()) })
}

// Create makes a group, and writes down that the user by did so. The text says why a group is refused.
func (s *Set) Create(by, stream, name string, settings Settings) (Result, string) {
	exists := s.Find(stream, name) != nil
	problem := cmp.Or(s.streamProblem(stream), s.settingsProblem(&settings))
	switch {
	case exists && (problem == "" || !s.cfg.Facts.ChecksSettingsFirst):
		return Existence, fmt.Sprintf("Group '%s' already exists.", name)
	case problem == "":
		problem = s.bufferProblem(&settings)
	}
	if problem != "" {
		return Fail, problem
	}
	s.add(newGroup(s, stream, name, settings))
	s.save(by)
	return Success, ""
}

// Update gives a group other settings, and writes down that the user by did so. It drops the clients, and the group
// begins again behind its checkpoint.
func (s *Set) Update(by, stream, name string, settings Settings) (Result, string) {
	g, result, problem := s.change(stream, name)
	if g == nil {
		return result, problem
	}
	if problem := cmp.Or(s.settingsProblem(&settings), s.bufferProblem(&settings)); problem != "" {
		return Fail, problem
	}
	s.replace(g, newGroup(s, stream, name, settings))
	s.save(by)
	return Success, ""
}

// Delete ends a group, and writes down that the user by did so. It drops the clients and deletes the checkpoint and the
// parked events.
func (s *Set) Delete(by, stream, name string) (Result, string) {
	g, result, problem := s.change(stream, name)
	if g == nil {
		return result, problem
	}
	s.remove(g)
	g.forget()
	s.save(by)
	return Success, ""
}

// change returns the group to change, or nil and the reason.
func (s *Set) change(stream, name string) (*Group, Result, string) {
	if problem := s.streamProblem(stream); problem != "" && s.cfg.Facts.ChangeChecksStream {
		return nil, Fail, problem
	}
	g := s.Find(stream, name)
	if g == nil {
		return nil, Existence, fmt.Sprintf("Group '%s' does not exist.", name)
	}
	return g, Success, ""
}

func (s *Set) add(g *Group) {
	s.byID[g.ID()] = g
	s.byStream[g.Stream] = append(s.byStream[g.Stream], g)
	s.listed = append(s.listed, g)
}

// replace replaces a group by another one of its name.
func (s *Set) replace(old, g *Group) {
	i := slices.Index(s.listed, old)
	s.remove(old)
	s.add(g)
	if s.cfg.Facts.ChangedGroupStays {
		s.listed = slices.Insert(s.listed[:len(s.listed)-1], i, g)
	}
}

// remove removes a group, and drops its clients.
func (s *Set) remove(g *Group) {
	g.dropClients()
	delete(s.byID, g.ID())
	s.listed = slices.DeleteFunc(s.listed, func(o *Group) bool { return o == g })
	left := slices.DeleteFunc(s.byStream[g.Stream], func(o *Group) bool { return o == g })
	if len(left) == 0 {
		delete(s.byStream, g.Stream)
		return
	}
	s.byStream[g.Stream] = left
}

// Unsubscribe drops the clients with a correlation id, one in each group.
func (s *Set) Unsubscribe(id esproto.CorrelationID) {
	for _, g := range s.byID {
		for _, c := range g.clients {
			if c.id == id {
				c.consumer.Drop()
				g.leave(func(o *Client) bool { return o == c }, false)
				break
			}
		}
	}
}

// Lost removes the clients of a connection that has ended. They are not told.
func (s *Set) Lost(connection string) {
	gone := func(c *Client) bool { return c.connection == connection }
	for _, g := range s.byID {
		if slices.ContainsFunc(g.clients, gone) {
			g.leave(gone, true)
		}
	}
}

// Observe is an observer of the log: it notifies the groups of a stream of new events.
func (s *Set) Observe(made eventlog.Commit) {
	if made.Stream == nil {
		return
	}
	for _, g := range s.byStream[made.Stream.Name] {
		for _, r := range made.Records {
			g.written(r)
		}
	}
}

// Tick retries events whose time is over, and writes checkpoints. Servers do that once a second.
func (s *Set) Tick() {
	now := s.cfg.Now()
	for _, g := range s.byID {
		g.tick(now)
	}
}

// DropClients drops the clients of all groups. The groups stay.
func (s *Set) DropClients() {
	for _, g := range s.byID {
		g.dropClients()
	}
}

// Clear removes all groups. Their clients are not told.
func (s *Set) Clear() {
	clear(s.byID)
	clear(s.byStream)
	clear(s.onAll)
	s.listed = nil
}
