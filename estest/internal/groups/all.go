package groups

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// onAllDefaults are the settings that the gRPC client has by default.
var onAllDefaults = Settings{
	MessageTimeout: 30 * time.Second, LiveBufferSize: 500, ReadBatchSize: 20, BufferSize: 500, MaxRetryCount: 10,
	CheckpointAfter: 2 * time.Second, CheckpointMin: 10, CheckpointMax: 1000, Strategy: RoundRobin,
}

// AllGroup is a group on $all. Nobody consumes it, so it holds what it has room for, and gets no further.
type AllGroup struct {
	Name     string
	Settings Settings

	set   *Set
	start eventlog.Position // -1/-1 for what is written from now on
	since int               // how many records the log had when the process began to run the group
}

// CreateOnAll makes a group on $all, from the first event on, and writes down who has. It returns false if there is one
// of that name.
func (s *Set) CreateOnAll(by, name string) bool {
	if s.onAll[name] != nil {
		return false
	}
	s.addOnAll(name, onAllDefaults, eventlog.Position{})
	s.save(by)
	return true
}

func (s *Set) addOnAll(name string, settings Settings, start eventlog.Position) {
	s.onAll[name] = &AllGroup{set: s, Name: name, Settings: settings, start: start, since: len(s.Log.Records())}
}

// FindOnAll returns a group on $all; nil if there is none of that name.
func (s *Set) FindOnAll(name string) *AllGroup { return s.onAll[name] }

// OnAll returns the groups on $all, by name.
func (s *Set) OnAll() []*AllGroup {
	return slices.SortedFunc(maps.Values(s.onAll), func(a, b *AllGroup) int { return cmp.Compare(a.Name, b.Name) })
}

// parsePosition reads what String writes.
func parsePosition(text string) (p eventlog.Position, err error) {
	_, err = fmt.Sscanf(text, "C:%d/P:%d", &p.Commit, &p.Prepare)
	return p, err
}

func (g *AllGroup) entry() configEntry {
	e := g.Settings.entry(eventlog.AllStream, g.Name)
	start := g.start.String()
	e.StartPosition = &start
	return e
}

// Start tells where the group began.
func (g *AllGroup) Start() string { return g.start.String() }

// Lag tells how many events wait in the group's buffer, how many of those that it has heard of since it runs it
// remembers, and which it has seen last; nil for none. live is whether it has all that there is.
func (g *AllGroup) Lag() (buffered, newest int, last *eventlog.Record, live bool) {
	from, room := g.since, g.Settings.BufferSize
	if g.start.Commit >= 0 {
		from = g.set.Log.IndexFrom(g.start)
	}
	for i, r := range g.set.Log.Records()[from:] {
		if g.set.Log.Hidden(r) {
			continue
		}
		buffered++
		if from+i >= g.since {
			newest++
		}
		last = r
	}
	return min(buffered, room), min(newest, g.Settings.LiveBufferSize), last, buffered <= room
}
