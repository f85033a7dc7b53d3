package esclient

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// ConsumerStrategy is how the server shares a group's events out among its subscribers.
type ConsumerStrategy string

// The strategies. The empty one is RoundRobin.
const (
	// RoundRobin gives the events to the subscribers in turn.
	RoundRobin ConsumerStrategy = "RoundRobin"
	// DispatchToSingle gives all events to one subscriber until it has no room.
	DispatchToSingle ConsumerStrategy = "DispatchToSingle"
	// Pinned gives the events of one source stream to the same subscriber, as long as the subscribers stay the same.
	Pinned ConsumerStrategy = "Pinned"
	// PinnedByCorrelation is Pinned by the $correlationId in the events' metadata. Servers from 20.x.
	PinnedByCorrelation ConsumerStrategy = "PinnedByCorrelation"
)

// PersistentSettings are the settings of a persistent subscription group, kept by the server. Take
// DefaultPersistentSettings and change what is needed: the server has no defaults, and zero is a value with a meaning.
type PersistentSettings struct {
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// StartFrom is the number of the first event, used only while the group has no checkpoint; -1 means those written
	// after the group was made.
	StartFrom int64
	// MessageTimeout is how long the server waits for an ack, from the push on, before it delivers the event again,
	// perhaps to another subscriber; it looks once a second. It must be positive: zero means never up to server 5.0 and
	// at once from 20.x. MaxMessageTimeout stands for never. A subscriber that dies needs no timeout: its connection
	// ends, and the server then delivers at once again what it had. A timeout takes events away from a subscriber that
	// lives and hangs.
	MessageTimeout time.Duration
	// RecordStatistics has the server measure latencies for its HTTP interface.
	RecordStatistics bool
	// LiveBufferSize is how many of the newest events the server holds while the group has not caught up.
	LiveBufferSize int
	// ReadBatchSize is how many events the server reads at a time, at most 100, while the group has not caught up. It
	// must be less than BufferSize, or the group never reads.
	ReadBatchSize int
	// BufferSize is how many events the server holds for pushing.
	BufferSize int
	// MaxRetryCount is how often an event is delivered again before it is parked; UnlimitedRetries stands for always.
	// Each message timeout and each NackRetry counts, and from server 20.x on each subscriber that had the event pushed
	// and went away, also where it never got round to it.
	MaxRetryCount int
	// CheckpointAfter is the least time between two checkpoints; zero writes them by CheckpointMaxCount only.
	CheckpointAfter time.Duration
	// CheckpointMinCount is the least number of events between two checkpoints.
	CheckpointMinCount int
	// CheckpointMaxCount is the number of events after which a checkpoint is written at once. After a restart of the
	// server as many events may come again.
	CheckpointMaxCount int
	// MaxSubscriberCount is how many subscribers the group may have; 0 means any number.
	MaxSubscriberCount int
	// Strategy is how events are shared out; empty means RoundRobin.
	Strategy ConsumerStrategy
}

// The most that every server takes, which is practically for ever: see PersistentSettings.
const (
	// MaxMessageTimeout is the largest MessageTimeout: nearly 25 days.
	MaxMessageTimeout = math.MaxInt32 * time.Millisecond
	// UnlimitedRetries is the largest MaxRetryCount.
	UnlimitedRetries = math.MaxInt32
)

// DefaultPersistentSettings returns the settings of the reference client: only events from now on (StartFrom -1), a
// message timeout of 30 s, 500 events live and 500 buffered, pages of 20, 10 retries, a checkpoint after 2 s or 10 to
// 1000 events, any number of subscribers in turn. Whoever needs longer than that for what is in flight sets
// MaxMessageTimeout and UnlimitedRetries, or less InFlight: else the server delivers events again that are being
// processed, and parks them in the end.
func DefaultPersistentSettings() PersistentSettings {
	return PersistentSettings{
		StartFrom:          -1,
		MessageTimeout:     30 * time.Second,
		LiveBufferSize:     500,
		ReadBatchSize:      20,
		BufferSize:         500,
		MaxRetryCount:      10,
		CheckpointAfter:    2 * time.Second,
		CheckpointMinCount: 10,
		CheckpointMaxCount: 1000,
		Strategy:           RoundRobin,
	}
}

// Validate reports, as an *ArgumentError, settings that servers refuse or that make a group which never delivers.
func (s *PersistentSettings) Validate() error {
	wrong := func(field, reason string, args ...any) error {
		return &ArgumentError{Argument: "PersistentSettings." + field, Reason: fmt.Sprintf(reason, args...)}
	}
	if s.StartFrom < -1 {
		return wrong("StartFrom", "%d is neither an event number nor -1", s.StartFrom)
	}
	if s.MessageTimeout < time.Millisecond {
		return wrong("MessageTimeout",
			"%v: by its version a server takes 0 for never or for at once; MaxMessageTimeout stands for never",
			s.MessageTimeout)
	}
	for _, d := range []struct {
		field string
		d     time.Duration
	}{{"MessageTimeout", s.MessageTimeout}, {"CheckpointAfter", s.CheckpointAfter}} {
		if d.d < 0 || d.d.Milliseconds() > math.MaxInt32 {
			return wrong(d.field, "%v is not between 0 and %d ms", d.d, math.MaxInt32)
		}
	}
	for _, n := range []struct {
		field string
		n     int
		least int
	}{
		{"LiveBufferSize", s.LiveBufferSize, 1}, {"ReadBatchSize", s.ReadBatchSize, 1}, {"BufferSize", s.BufferSize, 1},
		{"MaxRetryCount", s.MaxRetryCount, 0}, {"CheckpointMinCount", s.CheckpointMinCount, 0},
		{"CheckpointMaxCount", s.CheckpointMaxCount, 0}, {"MaxSubscriberCount", s.MaxSubscriberCount, 0},
	} {
		if n.n < n.least || n.n > math.MaxInt32 {
			return wrong(n.field, "%d is not between %d and %d", n.n, n.least, math.MaxInt32)
		}
	}
	if s.ReadBatchSize >= s.BufferSize {
		return wrong("ReadBatchSize",
			"%d is not less than BufferSize, %d: the server would never read", s.ReadBatchSize, s.BufferSize)
	}
	return nil
}

// CreatePersistent makes a persistent subscription group on a stream, which need not exist. The error is ErrGroupExists
// if the stream has one of that name, and ErrAccessDenied for whoever is not an administrator (from 5.0, operators may,
// too). After an outcome that was unknown on the way, ErrGroupExists may mean the caller's own group.
//
// A server takes the longer for it the more groups it has: some milliseconds with a thousand of them. Of many calls at
// a time most wait in the client for their turn, which only their contexts bound.
func (c *Client) CreatePersistent(ctx context.Context, stream, group string, s PersistentSettings) error {
	return c.changeGroup(ctx, "create persistent subscription",
		esproto.CmdCreatePersistentSubscription, stream, group, &s)
}

// UpdatePersistent changes the settings of a group. The server drops its subscribers, which come back by themselves if
// they are PersistentSubscriptions, and goes on behind the group's checkpoint: it delivers events again that were acked
// after it, which PersistentSubscriptions recognise. The error is ErrGroupNotFound if there is no such group.
func (c *Client) UpdatePersistent(ctx context.Context, stream, group string, s PersistentSettings) error {
	return c.changeGroup(ctx, "update persistent subscription",
		esproto.CmdUpdatePersistentSubscription, stream, group, &s)
}

// DeletePersistent removes a group with its checkpoint and its parked events. The error is ErrGroupNotFound if there is
// no such group.
func (c *Client) DeletePersistent(ctx context.Context, stream, group string) error {
	return c.changeGroup(ctx, "delete persistent subscription",
		esproto.CmdDeletePersistentSubscription, stream, group, nil)
}

func (c *Client) changeGroup(
	ctx context.Context, what string, cmd esproto.Command, stream, group string, s *PersistentSettings,
) error {
	if err := validateGroup(stream, group); err != nil {
		return err
	}
	if s != nil {
		if err := s.Validate(); err != nil {
			return err
		}
	}
	leave, err := c.groupTurn(ctx)
	if err == nil {
		err = c.do(ctx, &groupOp{cmd: cmd, stream: stream, group: group, settings: s}, repetition{})
		leave()
	}
	if err != nil {
		return &OperationError{Operation: what, Stream: stream, Group: group, Err: err}
	}
	return nil
}

func validateGroup(stream, group string) error {
	if stream == AllStream {
		return &ArgumentError{
			Argument: "stream", Reason: "over TCP there are no persistent subscriptions to " + AllStream,
		}
	}
	return validateAnyGroup(stream, group)
}

// validateAnyGroup is validateGroup for what can also be asked of the groups on $all that gRPC clients make.
func validateAnyGroup(stream, group string) error {
	if err := validateName("stream", stream); err != nil {
		return err
	}
	return validateName("group", group)
}

// groupOp creates, updates or deletes a group. The three have the same fields and results.
type groupOp struct {
	cmd      esproto.Command
	stream   string
	group    string
	settings *PersistentSettings // nil to delete
}

func (o *groupOp) Command() esproto.Command      { return o.cmd }
func (o *groupOp) about() (stream, group string) { return o.stream, o.group }
func (o *groupOp) Keeps(_ esproto.Command) bool  { return false }

func (o *groupOp) AppendPayload(b []byte) []byte {
	if o.settings == nil {
		return appendMessage(b, &esproto.DeletePersistentSubscription{
			SubscriptionGroupName: proto.String(o.group), EventStreamId: proto.String(o.stream),
		})
	}
	s := o.settings
	strategy := s.Strategy
	if strategy == "" {
		strategy = RoundRobin
	}
	return appendMessage(b, &esproto.CreatePersistentSubscription{
		SubscriptionGroupName:      proto.String(o.group),
		EventStreamId:              proto.String(o.stream),
		ResolveLinkTos:             proto.Bool(s.ResolveLinks),
		StartFrom:                  proto.Int64(s.StartFrom),
		MessageTimeoutMilliseconds: proto.Int32(int32(s.MessageTimeout.Milliseconds())),
		RecordStatistics:           proto.Bool(s.RecordStatistics),
		LiveBufferSize:             proto.Int32(int32(s.LiveBufferSize)),
		ReadBatchSize:              proto.Int32(int32(s.ReadBatchSize)),
		BufferSize:                 proto.Int32(int32(s.BufferSize)),
		MaxRetryCount:              proto.Int32(int32(s.MaxRetryCount)),
		PreferRoundRobin:           proto.Bool(strategy == RoundRobin),
		CheckpointAfterTime:        proto.Int32(int32(s.CheckpointAfter.Milliseconds())),
		CheckpointMaxCount:         proto.Int32(int32(s.CheckpointMaxCount)),
		CheckpointMinCount:         proto.Int32(int32(s.CheckpointMinCount)),
		SubscriberMaxCount:         proto.Int32(int32(s.MaxSubscriberCount)),
		NamedConsumerStrategy:      proto.String(string(strategy)),
	})
}

func (o *groupOp) Decode(cmd esproto.Command, payload []byte) error {
	// The three replies differ in nothing but what result 1 is called.
	var m esproto.CreatePersistentSubscriptionCompleted
	if err := decodeMessage(o, &m, cmd, payload); err != nil {
		return err
	}
	switch m.GetResult() {
	case esproto.CreatePersistentSubscriptionCompleted_Success:
		return nil
	case esproto.CreatePersistentSubscriptionCompleted_AlreadyExists:
		if o.cmd == esproto.CmdCreatePersistentSubscription {
			return ErrGroupExists
		}
		return ErrGroupNotFound
	case esproto.CreatePersistentSubscriptionCompleted_AccessDenied:
		return ErrAccessDenied
	}
	return serverError(m.GetResult(), m.GetReason())
}
