package esclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// groupConfigStream has the server's groups. Each change of a group adds an event with all of them. The stream keeps
// the last two events. Administrators may read it, unless the server's settings say otherwise.
const groupConfigStream = "$persistentSubscriptionConfig"

// groupConfig is one event of groupConfigStream.
type groupConfig struct {
	// Version is the version of the format: "1" or "2".
	Version string             `json:"version"`
	Entries []groupConfigEntry `json:"entries"`

	index map[groupName]*groupConfigEntry
}

type groupName struct{ stream, group string }

// groupConfigEntry is one group. Zeros, empty strings and false are left out. The names differ from those of the HTTP
// API.
type groupConfigEntry struct {
	Stream             string          `json:"stream"`
	Group              string          `json:"group"`
	ResolveLinkTos     bool            `json:"resolveLinkTos"`
	ExtraStatistics    bool            `json:"extraStatistics"`
	MessageTimeout     int64           `json:"messageTimeout"` // in milliseconds
	StartFrom          int64           `json:"startFrom"`      // servers before 21.10
	StartPosition      json.RawMessage `json:"startPosition"`  // from 21.10 on: the number as a string
	LiveBufferSize     int             `json:"liveBufferSize"`
	HistoryBufferSize  int             `json:"historyBufferSize"`
	MaxRetryCount      int             `json:"maxRetryCount"`
	ReadBatchSize      int             `json:"readBatchSize"`
	PreferRoundRobin   bool            `json:"preferRoundRobin"`
	CheckPointAfter    int64           `json:"checkPointAfter"` // in milliseconds
	MinCheckPointCount int             `json:"minCheckPointCount"`
	MaxCheckPointCount int             `json:"maxCheckPointCount"`
	MaxSubscriberCount int             `json:"maxSubscriberCount"`
	Strategy           string          `json:"namedConsumerStrategy"`
}

// parseGroupConfig decodes the data of an event of groupConfigStream.
func parseGroupConfig(data []byte) (*groupConfig, error) {
	var g groupConfig
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, fmt.Errorf("the configuration of the groups is unreadable: %w", err)
	}
	if g.Version == "" { // the server itself then takes it as no configuration
		return nil, errors.New("the configuration of the groups has no version")
	}
	g.index = make(map[groupName]*groupConfigEntry, len(g.Entries))
	for i := range g.Entries {
		e := &g.Entries[i]
		g.index[groupName{e.Stream, e.Group}] = e
	}
	return &g, nil
}

// find returns the settings of a group; false if there is no such group.
func (g *groupConfig) find(stream, group string) (PersistentSettings, bool) {
	e, has := g.index[groupName{stream, group}]
	if !has {
		return PersistentSettings{}, false
	}
	return e.settings(), true
}

func (e *groupConfigEntry) settings() PersistentSettings {
	strategy := ConsumerStrategy(e.Strategy)
	if strategy == "" {
		strategy = DispatchToSingle
		if e.PreferRoundRobin {
			strategy = RoundRobin
		}
	}
	return PersistentSettings{
		ResolveLinks: e.ResolveLinkTos, StartFrom: e.startFrom(),
		MessageTimeout:   time.Duration(e.MessageTimeout) * time.Millisecond,
		RecordStatistics: e.ExtraStatistics, LiveBufferSize: e.LiveBufferSize, ReadBatchSize: e.ReadBatchSize,
		BufferSize: e.HistoryBufferSize, MaxRetryCount: e.MaxRetryCount,
		CheckpointAfter:    time.Duration(e.CheckPointAfter) * time.Millisecond,
		CheckpointMinCount: e.MinCheckPointCount, CheckpointMaxCount: e.MaxCheckPointCount,
		MaxSubscriberCount: e.MaxSubscriberCount, Strategy: strategy,
	}
}

// startFrom reads both forms. Anything but a number, such as a position in $all, means the start.
func (e *groupConfigEntry) startFrom() int64 {
	text := string(e.StartPosition)
	if s, err := strconv.Unquote(text); err == nil {
		text = s
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return e.StartFrom
}
