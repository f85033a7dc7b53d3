package esclient

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// Defaults of PersistentOptions.
const (
	DefaultInFlight      = 10
	DefaultInFlightBytes = 8 << 20
	DefaultAckDelay      = 5 * time.Millisecond
	DefaultRememberAcked = 4096
)

// MaxInFlight is the largest PersistentOptions.InFlight.
const MaxInFlight = 1 << 20

// PersistentOptions are the options of [Client.ConnectPersistent].
type PersistentOptions struct {
	// InFlight is how many events the server may push before they are settled. 0 means Config.PersistentInFlight. If
	// the group has a message timeout, it runs from the push on: InFlight times the time for one event must be less.
	InFlight int
	// InFlightAtFirst is how many events, at most InFlight, the server may push on a new connection. 0 means InFlight.
	// The server may push more, up to InFlight, while the consumer settles all pushed events and waits for the next
	// ones. With Concurrency these are no more than about 200 ms of work, so that a slow consumer leaves events to
	// other subscribers. For a larger number the client subscribes again. Servers from 20.x on count a retry for each
	// event that they have pushed at that moment, and Pinned groups assign their streams again.
	InFlightAtFirst int
	// InFlightBytes is about how many bytes the events in flight may take. 0 means [DefaultInFlightBytes]. A single
	// larger event is held too, and so are all events that the consumer has begun with. On the wire servers limit only
	// the number of events. So when more bytes arrive, the subscription gives back the events that the consumer has not
	// begun with, and subscribes again for fewer events at a time. Servers close a connection on which more than 10 MiB
	// wait to be sent: with large events choose a small InFlight, or an InFlightAtFirst.
	InFlightBytes int
	// MessageTimeout is that of the group, such as [Client.GroupSettings] returns it. 0 means that it is not known: the
	// subscription learns it from the first event that times out. The subscription does not deliver an event that has
	// waited for so long. It gives the event back to the server, which delivers it again.
	MessageTimeout time.Duration
	// Concurrency, if not 0, is how many events the consumer processes at a time. Such a consumer calls Offer before it
	// begins with an event, and Begin when it begins. If the group has a message timeout, the server then pushes only
	// as many events, up to InFlight, as the consumer can begin with in time. When the connection is lost, the
	// subscription gives back the events that the consumer has not begun with.
	Concurrency int
	// ResolveLinks tells that the group resolves links, if that is known. Event.Unresolved is then true for a link
	// whose data names no event, too: servers from 5.0 on deliver it as an event in its own right. What the server does
	// with links is up to the group's settings.
	ResolveLinks bool
	// Hooks are called for this subscription alone, after those of Config.Hooks.
	Hooks []Hook
	// AckDelay is how long an ack may wait for others to be sent with it. 0 means [DefaultAckDelay]. Acks are sent
	// earlier if the consumer has no other event, or if half of InFlight have gathered.
	AckDelay time.Duration
	// RememberAcked limits how many parked events the subscription remembers until the server certainly knows of them.
	// It also limits how many events a group may begin behind after a restart of the server, and still be taken for the
	// same, if the user may not read the server's configuration of groups; see [PersistentSubscription]. 0 means
	// [DefaultRememberAcked], or InFlight if that is more. Acks need no limit: many consecutive ones take no more
	// memory than a few.
	RememberAcked int
	// Recreate, if not nil, has the settings with which the subscription creates the group if it is missing: a user has
	// deleted it, or the server has lost it. With nil the subscription ends with [ErrGroupNotFound].
	Recreate *PersistentSettings
	// Restore, if not nil, has the settings with which the subscription creates the group if the server comes back
	// without it and with an empty or an older log, such as a server without a disk. It does not create a group that a
	// user has deleted.
	Restore *PersistentSettings
}

func (o *PersistentOptions) setDefaults(cfg *Config) {
	if o.InFlight == 0 {
		o.InFlight = cfg.PersistentInFlight
	}
	if o.InFlightAtFirst == 0 {
		o.InFlightAtFirst = o.InFlight
	}
	if o.InFlightBytes == 0 {
		o.InFlightBytes = DefaultInFlightBytes
	}
	if o.AckDelay == 0 {
		o.AckDelay = DefaultAckDelay
	}
	if o.RememberAcked == 0 {
		o.RememberAcked = max(DefaultRememberAcked, o.InFlight)
	}
}

func (o *PersistentOptions) validate() error {
	wrong := func(field, reason string, args ...any) error {
		return &ArgumentError{Argument: "PersistentOptions." + field, Reason: fmt.Sprintf(reason, args...)}
	}
	switch {
	case o.InFlight < 1 || o.InFlight > MaxInFlight:
		return wrong("InFlight",
			"%d is not between 1 and %d: with none in flight nothing is ever delivered", o.InFlight, MaxInFlight)
	case o.InFlightAtFirst < 1 || o.InFlightAtFirst > o.InFlight:
		return wrong("InFlightAtFirst", "%d is not between 0 and InFlight, %d", o.InFlightAtFirst, o.InFlight)
	case o.InFlightBytes < 0:
		return wrong("InFlightBytes", "%d is negative", o.InFlightBytes)
	case o.AckDelay < 0:
		return wrong("AckDelay", "%v is negative", o.AckDelay)
	case o.MessageTimeout < 0:
		return wrong("MessageTimeout", "%v is negative", o.MessageTimeout)
	case o.Concurrency < 0 || o.Concurrency > o.InFlightAtFirst:
		return wrong("Concurrency", "%d is not between 0 and InFlight, %d", o.Concurrency, o.InFlightAtFirst)
	case o.RememberAcked < o.InFlight:
		return wrong("RememberAcked", "%d is less than InFlight, %d", o.RememberAcked, o.InFlight)
	}
	for _, s := range []*PersistentSettings{o.Recreate, o.Restore} {
		if s == nil {
			continue
		}
		if err := s.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// NackAction is the action of the server on a nacked event. Zero is no action.
type NackAction int

// The actions.
const (
	// NackPark moves the event to the group's parked stream, with the reason.
	NackPark NackAction = 1
	// NackRetry delivers the event again at once. After the group's MaxRetryCount the server parks it.
	NackRetry NackAction = 2
	// NackSkip settles the event without parking it, as an ack does.
	NackSkip NackAction = 3
	// NackStop does the same as NackSkip: no version of the server stops anything.
	NackStop NackAction = 4
)

// String returns the name, such as Park.
func (a NackAction) String() string {
	return named(int(a), "NackAction", "None", "Park", "Retry", "Skip", "Stop")
}

// PersistentSubscription is a subscriber of a persistent subscription group. [Client.ConnectPersistent] makes one.
//
// It resumes by itself when the connection is lost or the server drops it. Then the server delivers events again that
// were not settled. Those that the consumer holds are not delivered twice, and those that it has settled are settled
// again. Any number of goroutines may call all methods at once.
//
// While the group has no other subscriber, the first delivery of its events is in the order of the stream. If a server
// takes a lost connection for alive, the client makes it end the subscriber of that connection before the next one
// begins.
//
// A group that is deleted and created again knows of no ack. The subscription then delivers all of its events once
// more, also if that happened while the connection was lost. The same applies to a server that comes back with an older
// log. To find out, the subscription compares data of the group when a session ends and when the next one begins: the
// server's configuration of groups, the metadata of the group's checkpoints, and the stream itself. Administrators may
// read all of these. In the following situations the subscription cannot find out, and may deliver events again that
// were acked:
//
//   - The server does not answer for two seconds, at the beginning or after a lost connection. Until then the
//     subscription holds back all new events.
//   - The user is not an administrator, and the server was restarted, the group was updated, or the leader has changed.
//     In addition, one of these applies: other subscribers got some of the group's events; the server left out one of
//     two events with the same id; the group begins with the first event that this subscriber has seen, as a group
//     without a checkpoint does; the group begins more than RememberAcked events back; the connection is lost once more
//     before an event has come. This does not apply to a change of the leader that dropped the subscription, or if
//     nothing at all was written to the server meanwhile. A lost connection alone makes no event come again.
//
// In one situation such a user does not get all events of a group that was created again: it was created with a later
// start, at most RememberAcked events back, before the subscription found it missing, and no other subscriber takes its
// events.
type PersistentSubscription struct {
	c      *Client
	stream string
	group  string
	opts   PersistentOptions
	creds  *esproto.Credentials

	report reporter

	ctx      context.Context // ends with the subscription
	cancel   context.CancelCauseFunc
	queue    queue
	closed   chan struct{}
	timed    atomic.Bool   // Next checks how long an event has waited
	progress chan struct{} // holds a token when the consumer has settled an event

	mu          sync.Mutex
	session     *session                // the connection's; nil while there is none
	asked       []*session              // the server has not answered these yet
	lost        []esproto.CorrelationID // of sessions that the server may still count
	ledger      ledger
	acks        []esproto.GUID // not sent yet
	ackTimer    *time.Timer    // runs while acks wait
	pushLimit   pushLimit
	revoked     chan struct{} // closed when the subscription gives back events that the consumer has not begun with
	watch       *time.Timer   // runs while events wait for the consumer, if watching
	watching    bool
	slow        bool          // the slow consumer was reported
	away        bool          // events were given back, and the next session has not begun
	unrepeated  int           // events that were settled while away and have not come again
	allRepeated chan struct{} // closed when unrepeated is 0; nil unless Stop waits for it
	// lastKnown is the number of the stream's last event when the server confirmed the subscription last. position is
	// the end of the log at that time.
	lastKnown     int64
	position      int64
	seen          *snapshot      // of the group, when it was last compared; nil if it was not
	endedSessions *endedSessions // nil if no session has ended since the last comparison
	draining      bool
	deleted       bool // the stream's tombstone has come, so the subscription drains
	ended         error
}

// ConnectPersistent subscribes to a group. The server has confirmed the subscription when this method returns. The
// error is [ErrGroupNotFound], [ErrStreamDeleted], [ErrAccessDenied], [ErrMaxSubscribers], [ErrInvalidArgument] or that
// of ctx. The end of ctx ends this method and not the subscription.
func (c *Client) ConnectPersistent(
	ctx context.Context, stream, group string, opts PersistentOptions,
) (*PersistentSubscription, error) {
	if err := validateGroup(stream, group); err != nil {
		return nil, err
	}
	opts.setDefaults(c.cfg)
	if err := opts.validate(); err != nil {
		return nil, err
	}
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return nil, err
	}
	hooks, err := c.hooksWith("PersistentOptions.Hooks", opts.Hooks)
	if err != nil {
		return nil, err
	}
	p := &PersistentSubscription{
		c: c, stream: stream, group: group, opts: opts, creds: creds,
		closed:    make(chan struct{}),
		pushLimit: newPushLimit(&opts),
		ledger:    newLedger(stream, opts.RememberAcked),
		report:    reporter{c: c, hooks: hooks, stream: stream, group: group},
	}
	p.report.subscription = p
	if opts.Concurrency > 0 {
		p.progress, p.revoked = make(chan struct{}, 1), make(chan struct{})
	}
	p.timeOn()
	// The server may push more than InFlight when events time out, but never by more than again as many.
	p.queue.init(2 * opts.InFlight)
	base := c.ctx
	if creds != nil {
		base = WithCredentials(base, Credentials(*creds))
	}
	p.ctx, p.cancel = context.WithCancelCause(base)
	if err := c.register(p); err != nil {
		p.cancel(err)
		return nil, err
	}
	if err := p.connect(ctx); err != nil {
		err = &OperationError{Operation: "connect to persistent subscription", Stream: stream, Group: group, Err: err}
		p.end(err)
		return nil, err
	}
	return p, nil
}

// connect makes a session on the current connection, or on the next one.
func (p *PersistentSubscription) connect(ctx context.Context) error {
	_, err := openSubscription(ctx, p.c, func(conn *engine.Conn, told chan struct{}) (*session, error) {
		s := newSession(p, told)
		conn.EndLost(s.ends)
		err := conn.StartSubscription(ctx, s, p.creds, s, func(h engine.Handle) { s.handle = h })
		if err == nil {
			p.ask(s)
		}
		return s, err
	})
	if err == nil {
		p.report.subscribed()
	}
	return err
}

// Next waits for the next event. It returns the error of ctx when ctx ends. The caller may call it again then. It
// returns [ErrSubscriptionStopped] after Stop and, when all events are delivered, after Drain. Any other error is
// final: [ErrGroupNotFound], [ErrStreamDeleted], [ErrAccessDenied], [ErrClosed].
func (p *PersistentSubscription) Next(ctx context.Context) (*Event, error) {
	for {
		select {
		case <-p.closed:
			return nil, p.Err()
		default:
		}
		if e := p.queue.pop(); e != nil {
			if p.timed.Load() && p.waitedTooLong(e) {
				continue
			}
			if e.Original().Number == esproto.DeletedStream {
				p.tombstone(e)
				continue
			}
			if p.queue.len() > 0 {
				p.queue.signal() // for another goroutine that waits in Next
			}
			if e.Unresolved {
				p.report.unresolved(e)
			}
			if p.report.wantsDelivered() {
				p.report.delivered(e, newestNumber(p.lastNumber(), p.queue.newestNumber()))
			}
			return e, nil
		}
		p.mu.Lock()
		p.flush() // the consumer has nothing else to do
		p.growIfIdle()
		drained, reason := p.draining && !p.undecided() && p.queue.len() == 0, p.drainReason()
		p.mu.Unlock()
		if drained {
			return nil, reason
		}
		select {
		case <-p.queue.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.closed:
		}
	}
}

func (p *PersistentSubscription) lastNumber() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastKnown
}

// All calls Next until it fails. An error ends the loop, with a nil event. [ErrSubscriptionStopped] ends the loop
// without an error.
func (p *PersistentSubscription) All(ctx context.Context) iter.Seq2[*Event, error] {
	return all(ctx, p)
}

// Stop ends the subscription. It sends the acks that have gathered, and gives the events that are not settled back to
// the server at once, for other subscribers. Next then returns [ErrSubscriptionStopped]. Stop waits for the server's
// answer until ctx ends. Its error is that of ctx; the subscription has ended in any case.
func (p *PersistentSubscription) Stop(ctx context.Context) error {
	p.repeatBeforeStop(ctx)
	return p.stop(ctx, ErrSubscriptionStopped)
}

func (p *PersistentSubscription) stop(ctx context.Context, reason error) error {
	p.mu.Lock()
	p.flush()
	s := p.session
	if s != nil {
		s.handle.Post(engine.Unsubscribe{}, p.creds)
	}
	first := p.endLocked(reason) // before the server's reply, which would otherwise look like a reason to resume
	p.mu.Unlock()
	p.queue.drain()
	if first {
		p.tellEnd(reason)
	}
	if s == nil {
		return nil
	}
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		s.handle.Remove()
		return context.Cause(ctx)
	}
}

// Drain ends the subscription after the events that it has received: Next delivers them, and then returns
// [ErrSubscriptionStopped]. The subscription lasts until the consumer has settled the delivered events. Then all other
// events go back to the server. Stop ends a draining subscription at once.
func (p *PersistentSubscription) Drain() {
	p.mu.Lock()
	p.draining = true
	p.mu.Unlock()
	p.queue.signal()
	p.endIfDrained()
}

// tombstone follows the event that ends a stream for ever. The consumer does not get it. The consumer can still settle
// the events before it, and then the subscription ends.
func (p *PersistentSubscription) tombstone(e *Event) {
	p.mu.Lock()
	p.draining, p.deleted = true, true
	p.mu.Unlock()
	_ = p.Ack(e)
	p.endIfDrained()
}

// drainReason is the error of Next when a draining subscription has no event left.
func (p *PersistentSubscription) drainReason() error {
	if p.deleted {
		return ErrStreamDeleted
	}
	return ErrSubscriptionStopped
}

// endIfDrained ends a draining subscription that has no event left to settle.
func (p *PersistentSubscription) endIfDrained() (ended bool) {
	p.mu.Lock()
	drained := p.draining && p.ledger.holding == 0 && !p.undecided() && p.ended == nil
	if drained {
		p.flush()
		if p.session != nil {
			p.session.handle.Post(engine.Unsubscribe{}, p.creds)
		}
		p.endLocked(p.drainReason())
	}
	reason := p.drainReason()
	p.mu.Unlock()
	if drained {
		p.tellEnd(reason)
	}
	return drained
}

// Closed returns a channel that is closed when the subscription has ended. Then Err returns the reason.
func (p *PersistentSubscription) Closed() <-chan struct{} { return p.closed }

// Err returns why the subscription has ended, which is [ErrSubscriptionStopped] after Stop and Drain. It returns nil
// while the subscription lasts.
func (p *PersistentSubscription) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *PersistentSubscription) end(reason error) {
	p.mu.Lock()
	first := p.endLocked(reason)
	p.mu.Unlock()
	if first {
		p.tellEnd(reason)
	}
}

// endLocked is the only place where the subscription ends. The first call counts. tellEnd must follow it, without p.mu.
func (p *PersistentSubscription) endLocked(reason error) (first bool) {
	if p.ended != nil {
		return false
	}
	p.ended = reason
	for _, t := range []*time.Timer{p.ackTimer, p.watch} {
		if t != nil {
			t.Stop()
		}
	}
	return true
}

func (p *PersistentSubscription) tellEnd(reason error) {
	p.cancel(reason)
	close(p.closed)
	p.c.unregister(p)
	p.report.ended(reason)
}

// Format prints the stream and the group. It does not print the fields, which have credentials.
func (p *PersistentSubscription) Format(s fmt.State, verb rune) {
	text := fmt.Sprintf("esclient.PersistentSubscription{stream %q, group %q}", p.stream, p.group)
	formatText(s, verb, text, text)
}
