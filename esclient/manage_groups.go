package esclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// GroupSummary is what a server tells of a persistent subscription group in a list.
type GroupSummary struct {
	Stream string
	Group  string
	// Status is what the group is doing: Live or Behind, and perhaps more behind a comma.
	Status string
	// AverageItemsPerSecond is how many events were pushed a second since somebody asked for it last.
	AverageItemsPerSecond float64
	TotalItemsProcessed   int64 // events that were pushed since the server runs the group
	// LastCheckpoint is the number of the event up to which all is settled, as the server has written it down, and
	// LastKnownEvent the highest that the group has seen. They are -1 where there is none, and for a group on $all,
	// which goes by positions and not by numbers; only gRPC clients make such groups.
	LastCheckpoint int64
	LastKnownEvent int64
	// Subscribers is how many there are, and InFlight how many events they have been pushed and have not settled.
	Subscribers int
	InFlight    int
}

// GroupInfo is what a server tells of a persistent subscription group.
type GroupInfo struct {
	GroupSummary
	Settings PersistentSettings
	// ItemsSinceLastMeasurement is how many events were pushed since somebody asked for it last.
	ItemsSinceLastMeasurement int64
	// ReadBuffer, LiveBuffer and RetryBuffer are how many events wait in them to be pushed.
	ReadBuffer  int
	LiveBuffer  int64
	RetryBuffer int
	// Outstanding is how many events were pushed and are not settled. Servers before 5.0 do not tell; it is then -1.
	Outstanding int
	// Parked is how many events are parked. Servers before 21.10 do not tell; it is then -1.
	Parked      int64
	Connections []GroupConnection
}

// GroupConnection is one subscriber of a group.
type GroupConnection struct {
	From                      string // host:port
	Username                  string
	ConnectionName            string // from servers 20.6 on; see Config.ConnectionName
	AverageItemsPerSecond     float64
	TotalItemsProcessed       int64
	ItemsSinceLastMeasurement int64
	AvailableSlots            int // how many events more may be pushed to it
	InFlight                  int
	// Latencies are measured, in milliseconds, where the group's settings have RecordStatistics: by Mean, Median,
	// Fastest, Highest and percentiles such as 99%.
	Latencies map[string]int64
}

// Groups describes the persistent subscription groups of all streams, or of one. Anybody who is logged in may ask. The
// error is ErrGroupNotFound if stream is not empty and has no group.
func (m *Management) Groups(ctx context.Context, stream string) ([]GroupSummary, error) {
	path := "/subscriptions"
	if stream != "" {
		if err := validateName("stream", stream); err != nil {
			return nil, err
		}
		path += "/" + pathPart(stream)
	}
	var answer []groupJSON
	if err := m.get(ctx, path, &answer); err != nil {
		return nil, groupError("list persistent subscriptions", stream, "", err)
	}
	var groups []GroupSummary
	for i := range answer {
		groups = append(groups, answer[i].summary())
	}
	return groups, nil
}

// Group describes one group, with its settings and its subscribers. Anybody who is logged in may ask. The error is
// ErrGroupNotFound if there is no such group.
func (m *Management) Group(ctx context.Context, stream, group string) (GroupInfo, error) {
	path, err := groupPath(stream, group, "info")
	if err != nil {
		return GroupInfo{}, err
	}
	var answer groupJSON
	if err := m.get(ctx, path, &answer); err != nil {
		return GroupInfo{}, groupError("describe persistent subscription", stream, group, err)
	}
	return answer.info(), nil
}

// ReplayParked has the group deliver parked events again: at most limit, the oldest first, or all where limit is 0.
// They are delivered as those of the parked stream, so Event.Original is the entry there and the event itself has its
// own stream and number. Whoever may not administer groups gets ErrAccessDenied. The error is ErrGroupNotFound if there
// is no such group.
//
// A limit takes a server from 20.6 on, otherwise the error is ErrNotSupported, and the right to read the parked stream.
func (m *Management) ReplayParked(ctx context.Context, stream, group string, limit int64) error {
	path, err := groupPath(stream, group, "replayParked")
	if err != nil {
		return err
	}
	if limit < 0 {
		return &ArgumentError{Argument: "limit", Reason: fmt.Sprintf("%d is negative", limit)}
	}
	if limit > 0 {
		query, err := m.replayUpTo(ctx, stream, group, limit)
		if err != nil || query == "" {
			return groupError("replay parked events", stream, group, err)
		}
		path += query
	}
	return groupError("replay parked events", stream, group, m.post(ctx, path, struct{}{}))
}

// replayUpTo returns the query that limits a replay. It is empty where there is nothing to replay. What the server
// takes is no count but the number, in the parked stream, of the first event that is to stay there; one that lies
// before its beginning would bring back what was replayed already.
func (m *Management) replayUpTo(ctx context.Context, stream, group string, limit int64) (query string, err error) {
	switch major, err := m.serverMajor(ctx); {
	case err != nil:
		return "", err
	case major < 20:
		return "", fmt.Errorf("%w: before 20.6 all parked events are replayed, or none", ErrNotSupported)
	}
	for e, err := range m.c.ReadStream(ctx, parkedStream(stream, group), ReadOptions{MaxCount: 1, PageSize: 1}) {
		if err != nil && !errors.Is(err, ErrStreamNotFound) {
			return "", err
		}
		if err == nil {
			return "?stopAt=" + strconv.FormatInt(e.Number+limit, 10), nil
		}
	}
	_, err = m.Group(ctx, stream, group)
	return "", err
}

func groupPath(stream, group, what string) (string, error) {
	if err := validateAnyGroup(stream, group); err != nil {
		return "", err
	}
	return "/subscriptions/" + pathPart(stream) + "/" + pathPart(group) + "/" + what, nil
}

// groupError says what failed; nil for nil.
func groupError(operation, stream, group string, err error) error {
	var done *OperationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		err = done.Err
	case errors.Is(err, ErrNotFound):
		err = fmt.Errorf("%w: %w", ErrGroupNotFound, err)
	}
	return &OperationError{Operation: operation, Stream: stream, Group: group, Err: err}
}

// groupJSON is a group as servers describe it.
type groupJSON struct {
	EventStreamID             string  `json:"eventStreamId"`
	GroupName                 string  `json:"groupName"`
	Status                    string  `json:"status"`
	AverageItemsPerSecond     float64 `json:"averageItemsPerSecond"`
	TotalItemsProcessed       int64   `json:"totalItemsProcessed"`
	CountSinceLastMeasurement int64   `json:"countSinceLastMeasurement"`
	LastProcessedEventNumber  int64   `json:"lastProcessedEventNumber"`
	LastKnownEventNumber      int64   `json:"lastKnownEventNumber"`
	// From 21.10 on these are there, null for none, where the numbers above have a 0.
	LastCheckpointedEventPosition json.RawMessage `json:"lastCheckpointedEventPosition"`
	LastKnownEventPosition        json.RawMessage `json:"lastKnownEventPosition"`

	// In lists alone.
	ConnectionCount int `json:"connectionCount"`

	TotalInFlightMessages int `json:"totalInFlightMessages"`

	// Of a single group alone.
	Config                   groupConfigJSON `json:"config"`
	ReadBufferCount          int             `json:"readBufferCount"`
	LiveBufferCount          int64           `json:"liveBufferCount"`
	RetryBufferCount         int             `json:"retryBufferCount"`
	OutstandingMessagesCount *int            `json:"outstandingMessagesCount"`
	ParkedMessageCount       *int64          `json:"parkedMessageCount"`
	Connections              []struct {
		From                      string  `json:"from"`
		Username                  string  `json:"username"`
		ConnectionName            string  `json:"connectionName"`
		AverageItemsPerSecond     float64 `json:"averageItemsPerSecond"`
		TotalItemsProcessed       int64   `json:"totalItemsProcessed"`
		CountSinceLastMeasurement int64   `json:"countSinceLastMeasurement"`
		AvailableSlots            int     `json:"availableSlots"`
		InFlightMessages          int     `json:"inFlightMessages"`
		ExtraStatistics           []struct {
			Key   string `json:"key"`
			Value int64  `json:"value"`
		} `json:"extraStatistics"`
	} `json:"connections"`
}

type groupConfigJSON struct {
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

func (g *groupJSON) summary() GroupSummary {
	return GroupSummary{
		Stream: g.EventStreamID, Group: g.GroupName, Status: g.Status,
		AverageItemsPerSecond: g.AverageItemsPerSecond, TotalItemsProcessed: g.TotalItemsProcessed,
		LastCheckpoint: orNone(g.LastProcessedEventNumber, g.LastCheckpointedEventPosition),
		LastKnownEvent: orNone(g.LastKnownEventNumber, g.LastKnownEventPosition),
		Subscribers:    max(g.ConnectionCount, len(g.Connections)), InFlight: g.TotalInFlightMessages,
	}
}

// orNone is -1 where the position that goes with a number is none, or one in $all.
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

func (g *groupJSON) info() GroupInfo {
	info := GroupInfo{
		GroupSummary: g.summary(), Settings: g.Config.settings(),
		ItemsSinceLastMeasurement: g.CountSinceLastMeasurement,
		ReadBuffer:                g.ReadBufferCount, LiveBuffer: g.LiveBufferCount, RetryBuffer: g.RetryBufferCount,
		Outstanding: -1, Parked: -1,
	}
	if g.OutstandingMessagesCount != nil {
		info.Outstanding = *g.OutstandingMessagesCount
	}
	if g.ParkedMessageCount != nil {
		info.Parked = *g.ParkedMessageCount
	}
	for i := range g.Connections {
		c := &g.Connections[i]
		connection := GroupConnection{
			From: c.From, Username: c.Username, ConnectionName: c.ConnectionName,
			AverageItemsPerSecond: c.AverageItemsPerSecond, TotalItemsProcessed: c.TotalItemsProcessed,
			ItemsSinceLastMeasurement: c.CountSinceLastMeasurement,
			AvailableSlots:            c.AvailableSlots, InFlight: c.InFlightMessages,
		}
		for _, s := range c.ExtraStatistics {
			if connection.Latencies == nil {
				connection.Latencies = make(map[string]int64)
			}
			connection.Latencies[s.Key] = s.Value
		}
		info.Connections = append(info.Connections, connection)
	}
	return info
}

func (s *groupConfigJSON) settings() PersistentSettings {
	return PersistentSettings{
		ResolveLinks: s.ResolveLinkTos, StartFrom: s.StartFrom,
		MessageTimeout:   time.Duration(s.MessageTimeoutMilliseconds) * time.Millisecond,
		RecordStatistics: s.ExtraStatistics, LiveBufferSize: s.LiveBufferSize, ReadBatchSize: s.ReadBatchSize,
		BufferSize: s.BufferSize, MaxRetryCount: s.MaxRetryCount,
		CheckpointAfter:    time.Duration(s.CheckPointAfterMilliseconds) * time.Millisecond,
		CheckpointMinCount: s.MinCheckPointCount, CheckpointMaxCount: s.MaxCheckPointCount,
		MaxSubscriberCount: s.MaxSubscriberCount, Strategy: ConsumerStrategy(s.NamedConsumerStrategy),
	}
}
