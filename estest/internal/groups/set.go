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

// Config is what groups need of the server.
type Config struct {
	Log      *eventlog.Log
	Facts    *Facts
	Logger   *slog.Logger
	Now      func() time.Time
	Majority func() bool // whether what is written stays; readers must not see what the next leader may not have
}

// Set has all groups of a server. The lock of the log guards it.
type Set struct {
	Config
	byID     map[string]*Group
	byStream map[string][]*Group
	listed   []*Group // in the order of the configuration
	onAll    map[string]*AllGroup
}

func NewSet(cfg Config) *Set {
	return &Set{
		Config: cfg, byID: make(map[string]*Group), byStream: make(map[string][]*Group),
		onAll: make(map[string]*AllGroup),
	}
}

// Result is the result of creating, updating or deleting a group. The replies have the same fields, and the same
// numbers but for what 1 is called: the group exists already, or does not exist.
type Result int32

const (
	Success Result = iota
	Existence
	Fail
	Denied
)

func IDOf(stream, name string) string { return stream + "::" + name }

// Find returns a group of a stream; nil if there is none of that name.
func (s *Set) Find(stream, name string) *Group { return s.byID[IDOf(stream, name)] }

// ByID returns the group that the server calls so; nil if there is none.
func (s *Set) ByID(id string) *Group { return s.byID[id] }

// All returns the groups of streams, by their ids.
func (s *Set) All() []*Group {
	return slices.SortedFunc(maps.Values(s.byID), func(a, b *Group) int { return cmp.Compare(a.ID(), b.ID()) })
}

// Create makes a group, and writes down who has. The text says why there is none.
func (s *Set) Create(by, stream, name string, settings Settings) (Result, string) {
	exists := s.Find(stream, name) != nil
	problem := cmp.Or(s.streamProblem(stream), s.settingsProblem(&settings))
	switch {
	case exists && (problem == "" || !s.Facts.ChecksSettingsFirst):
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

// Update puts a group with other settings in the place of one, which loses its clients, and writes down who has.
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

// Delete ends a group, deletes what was written about it, and writes down who has.
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

// change returns the group that is to be changed; nil and the reason if there is none.
func (s *Set) change(stream, name string) (*Group, Result, string) {
	if problem := s.streamProblem(stream); problem != "" && s.Facts.ChangeChecksStream {
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

// replace puts a group in the place of another of the same name.
func (s *Set) replace(old, g *Group) {
	i := slices.Index(s.listed, old)
	s.remove(old)
	s.add(g)
	if s.Facts.ChangedGroupStays {
		s.listed = slices.Insert(s.listed[:len(s.listed)-1], i, g)
	}
}

// remove takes a group away from its clients, who are told.
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

// Unsubscribe ends the subscriptions with a correlation id, if there are any, and tells their clients.
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

// Lost forgets the clients of a connection that has ended.
func (s *Set) Lost(connection string) {
	gone := func(c *Client) bool { return c.connection == connection }
	for _, g := range s.byID {
		if slices.ContainsFunc(g.clients, gone) {
			g.leave(gone, true)
		}
	}
}

// Observe observes the log: it hands what is committed to the groups of the stream.
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

// Tick lets the groups look at the clock. Servers do that once a second.
func (s *Set) Tick() {
	now := s.Now()
	for _, g := range s.byID {
		g.tick(now)
	}
}

// DropClients unsubscribes all clients. The groups stay.
func (s *Set) DropClients() {
	for _, g := range s.byID {
		g.dropClients()
	}
}

// Clear forgets all groups, and does not tell their clients.
func (s *Set) Clear() {
	clear(s.byID)
	clear(s.byStream)
	clear(s.onAll)
	s.listed = nil
}
