package estest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What the server writes about its groups.
const (
	configStream   = "$persistentSubscriptionConfig"
	checkpointType = "SubscriptionCheckpoint"
)

func (g *group) checkpointStream() string {
	return "$persistentsubscription-" + g.id() + "-checkpoint"
}

func (g *group) parkedStream() string { return "$persistentsubscription-" + g.id() + "-parked" }

// isParkedStream reports whether a stream is one of parked messages. Its events do not count for checkpoints, by
// whatever way they come into a group.
func isParkedStream(name string) bool {
	return strings.HasPrefix(name, "$persistentsubscription-") && strings.HasSuffix(name, "-parked")
}

// loadCheckpoint returns the number behind which the group goes on.
func (g *group) loadCheckpoint() (n int64, ok bool) {
	s := g.core.stream(g.checkpointStream())
	if s == nil || s.last() < 0 || s.softDeleted() || s.hardDeleted() {
		return 0, false
	}
	r := s.visible(s.last(), g.core.now())
	if r == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.Trim(string(r.data), `"`), 10, 64)
	return n, err == nil
}

// mark writes a checkpoint if it is time. byClock is true once a second, false after acks.
func (g *group) mark(byClock bool) {
	most := g.progress - g.checkedUntil // cheap to know, and never too small
	if most < g.settings.checkpointMax && (!byClock || most < g.settings.checkpointMin) {
		return
	}
	n, until := g.lastKnown, g.progress
	if m := g.lowestOpen(); m != nil {
		n, until = m.previous, m.sequence-1
	}
	if n < 0 {
		return
	}
	if !g.core.hasMajority() {
		return // readers must not see what the next leader may not have
	}
	now, progress := g.core.now(), until-g.checkedUntil
	tooEarly := g.settings.checkpointAfter == 0 || now.Sub(g.checkedAt) < g.settings.checkpointAfter
	if progress < g.settings.checkpointMax && (tooEarly || !byClock || progress < g.settings.checkpointMin) {
		return
	}
	g.checkpoint, g.checkedUntil, g.checkedAt = n, until, now
	data := strconv.FormatInt(n, 10)
	if g.core.persona.checkpointIsText {
		data = `"` + data + `"`
	}
	g.core.systemWrite(g.checkpointStream(), checkpointType, true, []byte(data), nil)
}

// parkedMetadata is the metadata of a parked event.
type parkedMetadata struct {
	Added                   string `json:"added,omitempty"`
	Reason                  string `json:"reason,omitempty"`
	SubscriptionEventNumber int64  `json:"subscriptionEventNumber,omitempty"`
}

// park moves a message to the parked stream: a link to the event that it is about.
func (g *group) park(m *message, reason string) {
	g.close(m)
	g.release(m.original().id)
	about := m.event
	var data []byte
	if about != nil {
		data = []byte(numberAt(about.number, about.stream.name))
	} else {
		data = m.link.data
	}
	metadata, _ := json.Marshal(parkedMetadata{
		Added: g.core.now().Format(time.RFC3339Nano), Reason: reason, SubscriptionEventNumber: m.original().number,
	})
	g.core.systemWrite(g.parkedStream(), linkType, false, data, metadata)
}

// replayParked delivers the parked messages again, those before entry stopAt. The server takes the stream to begin
// there from then on, even if it has begun behind it.
func (g *group) replayParked(stopAt int64) {
	s := g.core.stream(g.parkedStream())
	if s == nil || s.last() < 0 || s.softDeleted() || s.hardDeleted() || stopAt == 0 {
		return
	}
	end := min(s.last()+1, stopAt)
	for number := s.first(); number < end; number++ {
		r := s.visible(number, g.core.now())
		if r == nil {
			continue
		}
		m := &message{replayed: true}
		m.event, m.link = g.core.resolve(r)
		g.addRetry(m, 0)
	}
	const meta = `{"$tb":%d,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`
	g.core.systemAppend("$$"+s.name, metadataType, true, fmt.Appendf(nil, meta, end), nil)
	g.dispatch()
}

// forget soft-deletes what the server wrote about a group, or would have written.
func (g *group) forget() {
	for _, name := range []string{g.checkpointStream(), g.parkedStream()} {
		if s := g.core.stream(name); s == nil || !s.softDeleted() && !s.hardDeleted() {
			g.core.systemAppend("$$"+name, metadataType, true, softDeleteData, nil)
		}
	}
}

// groupEntry is a group as the configuration stream has it. Zeros and false are left out.
type groupEntry struct {
	Stream             string  `json:"stream"`
	Group              string  `json:"group"`
	ResolveLinkTos     bool    `json:"resolveLinkTos,omitempty"`
	ExtraStatistics    bool    `json:"extraStatistics,omitempty"`
	MessageTimeout     int64   `json:"messageTimeout,omitempty"`
	StartFrom          int64   `json:"startFrom,omitempty"`
	StartPosition      *string `json:"startPosition,omitempty"` // from 21.10 on: the same as text
	LiveBufferSize     int     `json:"liveBufferSize,omitempty"`
	HistoryBufferSize  int     `json:"historyBufferSize,omitempty"`
	MaxRetryCount      int     `json:"maxRetryCount,omitempty"`
	ReadBatchSize      int     `json:"readBatchSize,omitempty"`
	CheckPointAfter    int64   `json:"checkPointAfter,omitempty"`
	MinCheckPointCount int64   `json:"minCheckPointCount,omitempty"`
	MaxCheckPointCount int64   `json:"maxCheckPointCount,omitempty"`
	MaxSubscriberCount int     `json:"maxSubscriberCount,omitempty"`
	Strategy           string  `json:"namedConsumerStrategy,omitempty"`
}

type groupConfig struct {
	Version   string       `json:"version"`
	Updated   string       `json:"updated"`
	UpdatedBy string       `json:"updatedBy,omitempty"`
	Entries   []groupEntry `json:"entries"`
}

func (g *group) entry() groupEntry {
	e := g.settings.entry(g.stream, g.name)
	if g.core.persona.configHasPosition {
		position := strconv.FormatInt(g.settings.startFrom, 10)
		e.StartPosition = &position
	}
	return e
}

func (s *groupSettings) entry(stream, group string) groupEntry {
	return groupEntry{
		Stream: stream, Group: group, ResolveLinkTos: s.resolveLinks, ExtraStatistics: s.recordStatistics,
		MessageTimeout: s.messageTimeout.Milliseconds(), StartFrom: s.startFrom, LiveBufferSize: s.liveBufferSize,
		HistoryBufferSize: s.bufferSize, MaxRetryCount: s.maxRetryCount, ReadBatchSize: s.readBatchSize,
		CheckPointAfter: s.checkpointAfter.Milliseconds(), MinCheckPointCount: s.checkpointMin,
		MaxCheckPointCount: s.checkpointMax, MaxSubscriberCount: s.maxSubscribers, Strategy: s.strategy,
	}
}

// settings returns what an entry says. Versions from 21.10 on look at the position first.
func (e *groupEntry) settings() groupSettings {
	from := e.StartFrom
	if e.StartPosition != nil {
		if n, err := strconv.ParseInt(*e.StartPosition, 10, 64); err == nil {
			from = n
		}
	}
	return groupSettings{
		resolveLinks: e.ResolveLinkTos, recordStatistics: e.ExtraStatistics, startFrom: from,
		messageTimeout: time.Duration(e.MessageTimeout) * time.Millisecond, liveBufferSize: e.LiveBufferSize,
		bufferSize: e.HistoryBufferSize, maxRetryCount: e.MaxRetryCount, readBatchSize: e.ReadBatchSize,
		checkpointAfter: time.Duration(e.CheckPointAfter) * time.Millisecond, checkpointMin: e.MinCheckPointCount,
		checkpointMax: e.MaxCheckPointCount, maxSubscribers: e.MaxSubscriberCount, strategy: e.Strategy,
	}
}

// saveGroups writes the configuration of all groups, as the server prints its local time and JSON.
func (c *core) saveGroups(by *user) {
	cfg := groupConfig{
		Version: "2", Updated: c.now().Local().Format("2006-01-02T15:04:05.9999999-07:00"), Entries: []groupEntry{},
	}
	if by != nil {
		cfg.UpdatedBy = by.login
	}
	for _, g := range c.listed {
		cfg.Entries = append(cfg.Entries, g.entry())
	}
	for _, g := range c.sortedGroupsOnAll() {
		cfg.Entries = append(cfg.Entries, g.entry())
	}
	if !c.hasMetadata(configStream) {
		c.systemAppend("$$"+configStream, metadataType, true, []byte(`{"$maxCount":2}`), nil)
	}
	c.systemAppend(configStream, c.persona.configType, true, indented(cfg), nil)
}

// restartGroups makes the groups anew from what the log has of them, as a server does when it starts.
func (c *core) restartGroups() {
	c.forgetGroups()
	s := c.stream(configStream)
	if s == nil || s.last() < 0 {
		return
	}
	var cfg groupConfig
	if err := json.Unmarshal(s.at(s.last()).data, &cfg); err != nil {
		c.logger.Error("the configuration of the groups cannot be read", "error", err)
		return
	}
	for _, e := range cfg.Entries {
		if e.Stream != allStream || e.StartPosition == nil {
			c.addGroup(newGroup(c, e.Stream, e.Group, e.settings()))
		} else if start, err := parsePosition(*e.StartPosition); err == nil {
			c.addGroupOnAll(e.Group, e.settings(), start)
		}
	}
}
