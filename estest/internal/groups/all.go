package groups

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// onAllDefaults are the default settings of the gRPC client.
var onAllDefaults = Settings{
	MessageTimeout: 30 * time.Second, LiveBufferSize: 500, ReadBatchSize: 20, BufferSize: 500, MaxRetryCount: 10,
	CheckpointAfter: 2 * time.Second, CheckpointMin: 10, CheckpointMax: 1000, Strategy: RoundRobin,
}

// AllGroup is a group on $all. It has no consumers, so it fills its buffers and gets no further.
type AllGroup struct {
	Name     string
	Settings Settings

	set   *Set
	start eventlog.Position // -1/-1 to begin behind the last event
	since int               // number of records in the log when the process began to run the group
}

// CreateOnAll makes a group on $all that begins at the first event, and writes down that the user by did so. It returns
// false if there is such a group.
func (s *Set) CreateOnAll(by, name string) bool {
	if s.onAll[name] != nil {
		return false
	}
	s.addOnAll(name, onAllDefaults, eventlog.Position{})
	s.save(by)
	return true
}

func (s *Set) addOnAll(name string, settings Settings, start eventlog.Position) {
	s.onAll[name] = &AllGroup{set: s, Name: name, Settings: settings, start: start, since: s.cfg.Log.Records().Len()}
}

// FindOnAll returns the group on $all of that name, or nil.
func (s *Set) FindOnAll(name string) *AllGroup { return s.onAll[name] }

// OnAll returns the groups on $all, by name.
func (s *Set) OnAll() []*AllGroup {
	return slices.SortedFunc(maps.Values(s.onAll), func(a, b *AllGroup) int { return cmp.Compare(a.Name, b.Name) })
}

// parsePosition reads a position as its String writes it.
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

// Start returns the position at which the group began.
func (g *AllGroup) Start() string { return g.start.String() }

// Lag returns how many events wait in the buffer, how many new events the group remembers, and the last event that it
// has seen, or nil. live is whether the buffer has all events.
func (g *AllGroup) Lag() (buffered, newest int, last *eventlog.Record, live bool) {
	from, room := g.since, g.Settings.BufferSize
	if g.start.Commit >= 0 {
		from = g.set.cfg.Log.IndexFrom(g.start)
	}
	for i, r := range g.set.cfg.Log.Records().From(from) {
		if g.set.cfg.Log.Hidden(r) {
			continue
		}
		buffered++
		if i >= g.since {
			newest++
		}
		last = r
	}
	return min(buffered, room), min(newest, g.Settings.LiveBufferSize), last, buffered <= room
}
