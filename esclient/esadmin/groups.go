package esadmin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
	"github.com/watermill-eventstore/watermill-eventstore/internal/notation"
)

// GroupSummary is a persistent subscription group in a list.
type GroupSummary struct {
	Stream string
	Group  string
	// Status is the state of the group: Live or Behind, perhaps followed by a comma and more.
	Status string
	// AverageItemsPerSecond is how many events were pushed per second since the last request for it.
	AverageItemsPerSecond float64
	TotalItemsProcessed   int64 // events pushed since the server has run the group
	// LastCheckpoint is the number of the last event that the stored checkpoint covers. LastKnownEvent is the highest
	// number that the group has seen. They are -1 if there is none, and for a group on $all, which has positions
	// instead of numbers; only gRPC clients create such groups.
	LastCheckpoint int64
	LastKnownEvent int64
	// Subscribers is the number of subscribers. InFlight is how many events are in flight to them.
	Subscribers int
	InFlight    int
}

// GroupInfo describes a persistent subscription group.
type GroupInfo struct {
	GroupSummary
	Settings esclient.PersistentSettings
	// ItemsSinceLastMeasurement is how many events were pushed since the last request for it.
	ItemsSinceLastMeasurement int64
	// ReadBuffer, LiveBuffer and RetryBuffer are how many events wait in these buffers to be pushed.
	ReadBuffer  int
	LiveBuffer  int64
	RetryBuffer int
	// Outstanding is how many events are in flight. It is -1 with servers before 5.0, which do not tell it.
	Outstanding int
	// Parked is how many events are parked. It is -1 with servers before 21.10, which do not tell it.
	Parked      int64
	Connections []GroupConnection
}

// GroupConnection is one subscriber of a group.
type GroupConnection struct {
	From                      string // host:port
	Username                  string
	ConnectionName            string // from servers 20.6 on; see [esclient.Config]
	AverageItemsPerSecond     float64
	TotalItemsProcessed       int64
	ItemsSinceLastMeasurement int64
	AvailableSlots            int // how many more events the server may push to it
	InFlight                  int
	// Latencies are in milliseconds: Mean, Median, Fastest, Highest and percentiles such as 99%. The server measures
	// them if the group's settings have RecordStatistics.
	Latencies map[string]int64
}

// Groups describes the persistent subscription groups of one stream, or of all streams if stream is empty. Any
// authenticated user may ask. The error is [esclient.ErrGroupNotFound] if stream is not empty and has no group.
func (c *Client) Groups(ctx context.Context, stream string) ([]GroupSummary, error) {
	path := "/subscriptions"
	if stream != "" {
		if err := validateName("stream", stream); err != nil {
			return nil, err
		}
		path += "/" + httpapi.Escape(stream)
	}
	var answer []httpapi.Group
	if err := c.get(ctx, path, &answer); err != nil {
		return nil, groupError("list persistent subscriptions", stream, "", err)
	}
	var groups []GroupSummary
	for i := range answer {
		groups = append(groups, summary(&answer[i]))
	}
	return groups, nil
}

// Group describes one group, with its settings and its subscribers. Any authenticated user may ask. The error is
// [esclient.ErrGroupNotFound] if there is no such group.
func (c *Client) Group(ctx context.Context, stream, group string) (GroupInfo, error) {
	path, err := groupPath(stream, group, "info")
	if err != nil {
		return GroupInfo{}, err
	}
	var answer httpapi.Group
	if err := c.get(ctx, path, &answer); err != nil {
		return GroupInfo{}, groupError("describe persistent subscription", stream, group, err)
	}
	return info(&answer), nil
}

// ReplayParked makes the group deliver its parked events again: at most limit of them, the oldest first, or all if
// limit is 0. [esclient.Event.Original] of such an event is the entry in the parked stream; the event itself has its
// own stream and number. The error is [esclient.ErrAccessDenied] if the user may not administer groups, and
// [esclient.ErrGroupNotFound] if there is no such group.
//
// A limit needs a server from 20.6 on, otherwise the error is [esclient.ErrNotSupported]. It also needs the right to
// read the parked stream.
func (c *Client) ReplayParked(ctx context.Context, stream, group string, limit int64) error {
	path, err := groupPath(stream, group, "replayParked")
	if err != nil {
		return err
	}
	if limit < 0 {
		return &esclient.ArgumentError{Argument: "limit", Reason: fmt.Sprintf("%d is negative", limit)}
	}
	if limit > 0 {
		query, err := c.replayUpTo(ctx, stream, group, limit)
		if err != nil || query == "" {
			return groupError("replay parked events", stream, group, err)
		}
		path += query
	}
	return groupError("replay parked events", stream, group, c.post(ctx, path, struct{}{}))
}

// replayUpTo returns the query that limits a replay; "" if there is nothing to replay. The server takes no count, but
// the number in the parked stream of the first event that stays there. With a number before the beginning of that
// stream it would replay all events once more.
func (c *Client) replayUpTo(ctx context.Context, stream, group string, limit int64) (query string, err error) {
	switch major, err := c.serverMajor(ctx); {
	case err != nil:
		return "", err
	case major < 20:
		return "", fmt.Errorf("%w: servers before 20.6 replay all parked events or none", esclient.ErrNotSupported)
	}
	one := esclient.ReadOptions{MaxCount: 1, PageSize: 1}
	for e, err := range c.client.ReadStream(ctx, notation.ParkedStream(stream, group), one) {
		if err != nil && !errors.Is(err, esclient.ErrStreamNotFound) {
			return "", err
		}
		if err == nil {
			return "?stopAt=" + strconv.FormatInt(e.Number+limit, 10), nil
		}
	}
	_, err = c.Group(ctx, stream, group)
	return "", err
}

func groupPath(stream, group, what string) (string, error) {
	if err := validateName("stream", stream); err != nil {
		return "", err
	}
	if err := validateName("group", group); err != nil {
		return "", err
	}
	return httpapi.GroupPath(stream, group, what), nil
}

// groupError adds the operation to an error. It returns nil for nil.
func groupError(operation, stream, group string, err error) error {
	var done *esclient.OperationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		err = done.Err
	case errors.Is(err, ErrNotFound):
		err = fmt.Errorf("%w: %w", esclient.ErrGroupNotFound, err)
	}
	return &esclient.OperationError{Operation: operation, Stream: stream, Group: group, Err: err}
}

func summary(g *httpapi.Group) GroupSummary {
	return GroupSummary{
		Stream: g.EventStreamID, Group: g.GroupName, Status: g.Status,
		AverageItemsPerSecond: g.AverageItemsPerSecond, TotalItemsProcessed: g.TotalItemsProcessed,
		LastCheckpoint: g.LastCheckpoint(),
		LastKnownEvent: g.LastKnownEvent(),
		Subscribers:    max(g.ConnectionCount, len(g.Connections)), InFlight: g.TotalInFlightMessages,
	}
}

func info(g *httpapi.Group) GroupInfo {
	settings := httpapi.SettingsOf[esclient.ConsumerStrategy](&g.Config)
	info := GroupInfo{
		GroupSummary: summary(g), Settings: esclient.PersistentSettings(settings),
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
