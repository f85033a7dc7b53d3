package httpapi

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// GroupPath is the path of a resource of a group, such as info.
func GroupPath(stream, group, what string) string {
	return "/subscriptions/" + Escape(stream) + "/" + Escape(group) + "/" + what
}

// Group requests the description of a group.
func (c *Client) Group(ctx context.Context, user *discovery.Credentials, stream, group string) (g Group, err error) {
	return g, c.Get(ctx, user, GroupPath(stream, group, "info"), &g)
}

// Group is a group in the server's JSON.
type Group struct {
	EventStreamID             string  `json:"eventStreamId"`
	GroupName                 string  `json:"groupName"`
	Status                    string  `json:"status"`
	AverageItemsPerSecond     float64 `json:"averageItemsPerSecond"`
	TotalItemsProcessed       int64   `json:"totalItemsProcessed"`
	CountSinceLastMeasurement int64   `json:"countSinceLastMeasurement"`
	LastProcessedEventNumber  int64   `json:"lastProcessedEventNumber"`
	LastKnownEventNumber      int64   `json:"lastKnownEventNumber"`
	// From 21.10 on servers also send these: null for no event, for which the numbers above are 0.
	LastCheckpointedEventPosition json.RawMessage `json:"lastCheckpointedEventPosition"`
	LastKnownEventPosition        json.RawMessage `json:"lastKnownEventPosition"`

	// Only in lists.
	ConnectionCount int `json:"connectionCount"`

	TotalInFlightMessages int `json:"totalInFlightMessages"`

	// Only of a single group.
	Config                   GroupConfig  `json:"config"`
	ReadBufferCount          int          `json:"readBufferCount"`
	LiveBufferCount          int64        `json:"liveBufferCount"`
	RetryBufferCount         int          `json:"retryBufferCount"`
	OutstandingMessagesCount *int         `json:"outstandingMessagesCount"`
	ParkedMessageCount       *int64       `json:"parkedMessageCount"`
	Connections              []Subscriber `json:"connections"`
}

// Subscriber is a subscriber of a group.
type Subscriber struct {
	From                      string      `json:"from"`
	Username                  string      `json:"username"`
	ConnectionName            string      `json:"connectionName"`
	AverageItemsPerSecond     float64     `json:"averageItemsPerSecond"`
	TotalItemsProcessed       int64       `json:"totalItemsProcessed"`
	CountSinceLastMeasurement int64       `json:"countSinceLastMeasurement"`
	AvailableSlots            int         `json:"availableSlots"`
	InFlightMessages          int         `json:"inFlightMessages"`
	ExtraStatistics           []Statistic `json:"extraStatistics"`
}

// Statistic is one measured latency of a subscriber, in milliseconds.
type Statistic struct {
	Key   string `json:"key"`
	Value int64  `json:"value"`
}

// GroupConfig are the settings of a group in the server's JSON.
type GroupConfig struct {
	ResolveLinkTos              bool   `json:"resolveLinktos"`
	StartFrom                   int64  `json:"startFrom"`
	MessageTimeoutMilliseconds  int64  `json:"messageTimeoutMilliseconds"`
	ExtraStatistics             bool   `json:"extraStatistics"`
	MaxRetryCount               int    `json:"maxRetryCount"`
	LiveBufferSize              int    `json:"liveBufferSize"`
	BufferSize                  int    `json:"bufferSize"`
	ReadBatchSize               int    `json:"readBatchSize"`
	CheckPointAfterMilliseconds int64  `json:"checkPointAfterMilliseconds"`
	MinCheckPointCount          int    `json:"minCheckPointCount"`
	MaxCheckPointCount          int    `json:"maxCheckPointCount"`
	MaxSubscriberCount          int    `json:"maxSubscriberCount"`
	NamedConsumerStrategy       string `json:"namedConsumerStrategy"`
}

// Settings has the fields of esclient.PersistentSettings, so that Go can convert one into the other.
type Settings[Strategy ~string] struct {
	ResolveLinks       bool
	StartFrom          int64
	MessageTimeout     time.Duration
	RecordStatistics   bool
	LiveBufferSize     int
	ReadBatchSize      int
	BufferSize         int
	MaxRetryCount      int
	CheckpointAfter    time.Duration
	CheckpointMinCount int
	CheckpointMaxCount int
	MaxSubscriberCount int
	Strategy           Strategy
}

// SettingsOf converts a configuration into settings.
func SettingsOf[Strategy ~string](c *GroupConfig) Settings[Strategy] {
	return Settings[Strategy]{
		ResolveLinks: c.ResolveLinkTos, StartFrom: c.StartFrom,
		MessageTimeout:   time.Duration(c.MessageTimeoutMilliseconds) * time.Millisecond,
		RecordStatistics: c.ExtraStatistics, LiveBufferSize: c.LiveBufferSize, ReadBatchSize: c.ReadBatchSize,
		BufferSize: c.BufferSize, MaxRetryCount: c.MaxRetryCount,
		CheckpointAfter:    time.Duration(c.CheckPointAfterMilliseconds) * time.Millisecond,
		CheckpointMinCount: c.MinCheckPointCount, CheckpointMaxCount: c.MaxCheckPointCount,
		MaxSubscriberCount: c.MaxSubscriberCount, Strategy: Strategy(c.NamedConsumerStrategy),
	}
}

// LastCheckpoint returns the number of the last event that the checkpoint covers; -1 if there is no checkpoint, or for
// $all.
func (g *Group) LastCheckpoint() int64 {
	return orNone(g.LastProcessedEventNumber, g.LastCheckpointedEventPosition)
}

// LastKnownEvent returns the highest number that the group has seen; -1 if there is none, or for $all.
func (g *Group) LastKnownEvent() int64 {
	return orNone(g.LastKnownEventNumber, g.LastKnownEventPosition)
}

// orNone returns a number, or -1 if its position is missing or one in $all.
func orNone(number int64, position json.RawMessage) int64 {
	if len(position) == 0 { // servers before 21.10
		return number
	}
	text, _ := strconv.Unquote(string(position))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return -1
}
