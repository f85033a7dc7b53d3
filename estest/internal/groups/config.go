package groups

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// configStream holds the configuration: all groups and their settings.
const configStream = "$persistentSubscriptionConfig"

// configEntry is a group in the configuration. The JSON omits zero and false values.
type configEntry struct {
	Stream             string  `json:"stream"`
	Group              string  `json:"group"`
	ResolveLinkTos     bool    `json:"resolveLinkTos,omitempty"`
	ExtraStatistics    bool    `json:"extraStatistics,omitempty"`
	MessageTimeout     int64   `json:"messageTimeout,omitempty"`
	StartFrom          int64   `json:"startFrom,omitempty"`
	StartPosition      *string `json:"startPosition,omitempty"` // from 21.10 on: startFrom as text
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

type configuration struct {
	Version   string        `json:"version"`
	Updated   string        `json:"updated"`
	UpdatedBy string        `json:"updatedBy,omitempty"`
	Entries   []configEntry `json:"entries"`
}

func (g *Group) entry() configEntry {
	e := g.Settings.entry(g.Stream, g.Name)
	if g.set.cfg.Facts.ConfigHasPosition {
		position := strconv.FormatInt(g.Settings.StartFrom, 10)
		e.StartPosition = &position
	}
	return e
}

func (s *Settings) entry(stream, group string) configEntry {
	return configEntry{
		Stream: stream, Group: group, ResolveLinkTos: s.ResolveLinks, ExtraStatistics: s.RecordStatistics,
		MessageTimeout: s.MessageTimeout.Milliseconds(), StartFrom: s.StartFrom, LiveBufferSize: s.LiveBufferSize,
		HistoryBufferSize: s.BufferSize, MaxRetryCount: s.MaxRetryCount, ReadBatchSize: s.ReadBatchSize,
		CheckPointAfter: s.CheckpointAfter.Milliseconds(), MinCheckPointCount: s.CheckpointMin,
		MaxCheckPointCount: s.CheckpointMax, MaxSubscriberCount: s.MaxSubscribers, Strategy: s.Strategy,
	}
}

// settings returns the settings in an entry. Versions from 21.10 on look at the position first.
func (e *configEntry) settings() Settings {
	from := e.StartFrom
	if e.StartPosition != nil {
		if n, err := strconv.ParseInt(*e.StartPosition, 10, 64); err == nil {
			from = n
		}
	}
	return Settings{
		ResolveLinks: e.ResolveLinkTos, RecordStatistics: e.ExtraStatistics, StartFrom: from,
		MessageTimeout: time.Duration(e.MessageTimeout) * time.Millisecond, LiveBufferSize: e.LiveBufferSize,
		BufferSize: e.HistoryBufferSize, MaxRetryCount: e.MaxRetryCount, ReadBatchSize: e.ReadBatchSize,
		CheckpointAfter: time.Duration(e.CheckPointAfter) * time.Millisecond, CheckpointMin: e.MinCheckPointCount,
		CheckpointMax: e.MaxCheckPointCount, MaxSubscribers: e.MaxSubscriberCount, Strategy: e.Strategy,
	}
}

// save writes the configuration of all groups, with local time and JSON in the form of the server.
func (s *Set) save(by string) {
	cfg := configuration{
		Version: "2", Updated: s.cfg.Now().Local().Format("2006-01-02T15:04:05.9999999-07:00"), UpdatedBy: by,
		Entries: []configEntry{},
	}
	entries := make([][]byte, 0, len(s.listed))
	for _, g := range s.listed {
		entries = append(entries, g.entryText())
	}
	for _, g := range s.OnAll() {
		entries = append(entries, eventlog.IndentedBy(entryIndent, g.entry()))
	}
	if !s.cfg.Log.HasMetadata(configStream) {
		s.cfg.Log.SystemAppend("$$"+configStream, eventlog.MetadataType, true, []byte(`{"$maxCount":2}`), nil)
	}
	s.cfg.Log.SystemAppend(configStream, s.cfg.Facts.ConfigType, true, cfg.text(entries), nil)
}

const entryIndent = "    " // of an entry in the configuration

// entryText returns the entry of a group as it is in the configuration. Each change of a group writes the entries of
// all groups, so an entry is encoded only if it has changed.
func (g *Group) entryText() []byte {
	if g.saved == nil || g.savedOf != g.Settings {
		g.saved, g.savedOf = eventlog.IndentedBy(entryIndent, g.entry()), g.Settings
	}
	return g.saved
}

// text returns the configuration with these entries, in place of its own.
func (c *configuration) text(entries [][]byte) []byte {
	const none = "[]\n}" // the end of a configuration without entries
	b := eventlog.Indented(c)
	if len(entries) == 0 {
		return b
	}
	b = append(b[:len(b)-len(none)], "[\n"+entryIndent...)
	b = append(b, bytes.Join(entries, []byte(",\n"+entryIndent))...)
	return append(b, "\n  ]\n}"...)
}

// Restart replaces all groups by those of the configuration in the log, as a server does when it starts. Clients are
// not told. The error of a configuration that cannot be read is logged, and there are no groups then.
func (s *Set) Restart() {
	s.Clear()
	st := s.cfg.Log.Stream(configStream)
	if st == nil || st.Last() < 0 {
		return
	}
	var cfg configuration
	if err := json.Unmarshal(st.At(st.Last()).Data(), &cfg); err != nil {
		s.cfg.Logger.Error("the configuration of the groups cannot be read", "error", err)
		return
	}
	for _, e := range cfg.Entries {
		if e.Stream != eventlog.AllStream || e.StartPosition == nil {
			s.add(newGroup(s, e.Stream, e.Group, e.settings()))
		} else if start, err := parsePosition(*e.StartPosition); err == nil {
			s.addOnAll(e.Group, e.settings(), start)
		}
	}
}
