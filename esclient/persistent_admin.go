package esclient

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// ConsumerStrategy is how the server distributes the events of a group among its subscribers.
type ConsumerStrategy string

// The strategies. The empty one is [RoundRobin].
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

// PersistentSettings are the settings of a persistent subscription group, kept by the server. Change a copy of
// [DefaultPersistentSettings]: the server has no defaults, and zero is a value with a meaning.
type PersistentSettings struct {
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// StartFrom is the number of the first event. The server uses it only while the group has no checkpoint. -1 stands
	// for the first event that is written after the group was created.
	StartFrom int64
	// MessageTimeout is how long the server waits for an ack, from the push on, before it delivers the event again,
	// perhaps to another subscriber. The server looks once a second. The timeout must be positive: for servers up to
	// 5.0 zero means never, and from 20.x on it means at once. [MaxMessageTimeout] stands for never. A timeout is not
	// needed for a subscriber that ends: its connection ends, and the server delivers its events again at once. The
	// timeout takes events away from a subscriber that hangs.
	MessageTimeout time.Duration
	// RecordStatistics makes the server measure latencies for its HTTP interface.
	RecordStatistics bool
	// LiveBufferSize is how many of the newest events the server holds while the group has not caught up.
	LiveBufferSize int
	// ReadBatchSize is how many events the server reads at a time, at most 100, while the group has not caught up. It
	// must be less than BufferSize, or the group never reads.
	ReadBatchSize int
	// BufferSize is how many events the server holds for pushing.
	BufferSize int
	// MaxRetryCount is how often the server delivers an event again before it parks it. [UnlimitedRetries] stands for
	// always. Each message timeout and each NackRetry counts. From server 20.x on each subscriber counts, too, that had
	// the event pushed and left, even if it had not begun with the event.
	MaxRetryCount int
	// CheckpointAfter is the least time between two checkpoints. With zero the server writes them by CheckpointMaxCount
	// only.
	CheckpointAfter time.Duration
	// CheckpointMinCount is the least number of events between two checkpoints.
	CheckpointMinCount int
	// CheckpointMaxCount is the number of events after which the server writes a checkpoint at once. After a restart of
	// the server it may deliver as many events again.
	CheckpointMaxCount int
	// MaxSubscriberCount is how many subscribers the group may have; 0 means any number.
	MaxSubscriberCount int
	// Strategy is how the server distributes the events; empty means [RoundRobin].
	Strategy ConsumerStrategy
}

// The largest values that every server accepts. In practice they stand for no limit; see [PersistentSettings].
const (
	// MaxMessageTimeout is the largest MessageTimeout: nearly 25 days.
	MaxMessageTimeout = math.MaxInt32 * time.Millisecond
	// UnlimitedRetries is the largest MaxRetryCount.
	UnlimitedRetries = math.MaxInt32
)

// DefaultPersistentSettings returns the settings of the reference client: only new events (StartFrom -1), a message
// timeout of 30 s, 500 events live and 500 buffered, pages of 20, 10 retries, a checkpoint after 2 s or 10 to 1000
// events, any number of subscribers in turn. A consumer that needs more than 30 s for all events in flight needs
// MaxMessageTimeout and UnlimitedRetries, or a smaller InFlight. Otherwise the server delivers events again that are
// being processed, and parks them in the end.
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

// Validate returns an [*ArgumentError] for settings that servers refuse, or with which a group never delivers.
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

// CreatePersistent creates a persistent subscription group on a stream, which need not exist. The error is
// [ErrGroupExists] if the stream has a group of that name, and [ErrAccessDenied] if the user is not an administrator
// (from 5.0 on operators may, too). If an attempt was repeated after a lost reply, ErrGroupExists may mean the group
// that the first attempt created.
//
// The more groups a server has, the longer it takes: some milliseconds with a thousand of them. The client sends few
// such requests at a time. Other calls wait, and only their contexts limit that.
func (c *Client) CreatePersistent(ctx context.Context, stream, group string, s PersistentSettings) error {
	return c.changeGroup(ctx, "create persistent subscription",
		esproto.CmdCreatePersistentSubscription, stream, group, &s)
}

// UpdatePersistent changes the settings of a group. The server drops the subscribers of the group. Each
// [PersistentSubscription] resumes by itself. The server goes on after the group's checkpoint. So it delivers events
// again that were acked after the checkpoint, and each PersistentSubscription recognises them. The error is
// [ErrGroupNotFound] if there is no such group.
func (c *Client) UpdatePersistent(ctx context.Context, stream, group string, s PersistentSettings) error {
	return c.changeGroup(ctx, "update persistent subscription",
		esproto.CmdUpdatePersistentSubscription, stream, group, &s)
}

// DeletePersistent deletes a group with its checkpoint and its parked events. The error is [ErrGroupNotFound] if there
// is no such group.
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
		c.configs.outdate()
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

// validateAnyGroup is validateGroup for requests that also take the groups on $all, which gRPC clients create.
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
	// The three replies differ only in the name of result 1.
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
