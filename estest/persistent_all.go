package estest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// CreateGroupOnAll makes a persistent subscription group on $all, from the first event on, as clients of the gRPC
// protocol can on servers from 21.10 on. Over HTTP it is listed beside the others, on the stream $all, with positions
// where those have numbers of events. Clients over TCP can neither create nor change nor delete it; this server does
// not let them consume it either. The error says that there is such a group already, or that the version knows none;
// ErrNoLeader on a node of a cluster that cannot write at the moment.
func (s *Server) CreateGroupOnAll(name string) error {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	c := s.writer()
	switch {
	case c == nil:
		return ErrNoLeader
	case !c.persona.hasGroupsOnAll:
		return fmt.Errorf("estest: servers of version %s have no groups on $all", c.persona.version)
	case name == "":
		return errors.New("estest: the name of the group is empty")
	case c.onAll[name] != nil:
		return fmt.Errorf("estest: there is a group %q on $all already", name)
	}
	c.addGroupOnAll(name, allGroupDefaults, position{})
	c.saveGroups(system)
	return nil
}

// allGroupDefaults are the settings that the gRPC client has by default.
var allGroupDefaults = groupSettings{
	messageTimeout: 30 * time.Second, liveBufferSize: 500, readBatchSize: 20, bufferSize: 500, maxRetryCount: 10,
	checkpointAfter: 2 * time.Second, checkpointMin: 10, checkpointMax: 1000, strategy: roundRobinName,
}

// allGroup is a group on $all. Nobody consumes it, so it holds what it has room for, and gets no further.
type allGroup struct {
	core     *core
	name     string
	settings groupSettings
	start    position // -1/-1 for what is written from now on
	since    int      // how many records the log had when the process began to run the group
	measured gauge
}

func (c *core) addGroupOnAll(name string, s groupSettings, start position) {
	c.onAll[name] = &allGroup{core: c, name: name, settings: s, start: start, since: len(c.records)}
}

func (c *core) sortedGroupsOnAll() []*allGroup {
	return slices.SortedFunc(maps.Values(c.onAll), func(a, b *allGroup) int { return cmp.Compare(a.name, b.name) })
}

// parsePosition reads what String writes.
func parsePosition(text string) (p position, err error) {
	_, err = fmt.Sscanf(text, "C:%d/P:%d", &p.commit, &p.prepare)
	return p, err
}

func (g *allGroup) entry() groupEntry {
	e := g.settings.entry(allStream, g.name)
	start := g.start.String()
	e.StartPosition = &start
	return e
}

// lag tells how many events wait in the group's buffer, how many of those that it has heard of since it runs it
// remembers, and which it has seen last; nil for none. live is whether it has all that there is.
func (g *allGroup) lag() (buffered, newest int, last *record, live bool) {
	from, room := g.since, g.settings.bufferSize
	if g.start.commit >= 0 {
		from = g.core.indexFrom(g.start)
	}
	for i := from; i < len(g.core.records); i++ {
		r := g.core.records[i]
		if g.core.persona.hidden(r) {
			continue
		}
		buffered++
		if i >= g.since {
			newest++
		}
		last = r
	}
	return min(buffered, room), min(newest, g.settings.liveBufferSize), last, buffered <= room
}

// groupOnAllInfo is groupInfo for a group on $all.
func (s *Server) groupOnAllInfo(g *allGroup) groupInfo {
	buffered, newest, last, live := g.lag()
	start := g.start.String()
	info := groupInfo{
		groupSummary: groupSummary{
			EventStreamID: allStream, GroupName: g.name, Status: groupStatus(live),
			LastCheckpointedEventPosition: json.RawMessage("null"), LastKnownEventPosition: json.RawMessage("null"),
		},
		Config: bodyOf(&g.settings), ReadBufferCount: buffered, LiveBufferCount: newest, Connections: []clientInfo{},
		OutstandingMessagesCount: new(int), ParkedMessageCount: new(int),
	}
	if last != nil {
		info.LastKnownEventPosition = json.RawMessage(strconv.Quote(last.position().String()))
	}
	info.Config.StartPosition = &start
	s.linkGroup(&info.groupSummary)
	g.measured.look(0, g.core.now())
	return info
}
