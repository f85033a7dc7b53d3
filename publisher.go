package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Publisher implements Watermill's [message.Publisher] for EventStore. Its methods are safe for concurrent use.
type Publisher struct {
	cfg      PublisherConfig
	own      *DefaultMarshaler // the Marshaler, if it is this one; nil for another
	conn     connection
	log      watermill.LoggerAdapter
	trace    bool
	timeouts timeouts
	delays   delayLog

	running  atomic.Int64  // running Publish calls; plus publisherClosed after Close
	closed   sync.Once     // Close has begun
	idle     chan struct{} // closed after Close, when no Publish call is running
	idleOnce sync.Once

	closing      context.Context // ends with Close: a message that was not sent by then is not sent
	cancelUnsent context.CancelCauseFunc
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a [Publisher]. It returns an [*esclient.ConfigError] for an invalid configuration. It does not
// wait for the server: [Publisher.Publish] waits for the connection. The logger, which may be nil, gets the state of
// the connection until Close, also that of a borrowed Client.
func NewPublisher(config PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	p := &Publisher{cfg: config, log: orNop(logger).With(watermill.LogFields{"provider": "eventstore"})}
	p.trace = !isNop(p.log)
	if m, ok := config.Marshaler.(DefaultMarshaler); ok { // itself: a type that embeds it may have another Marshal
		p.own = &m
	}
	connect, err := connector(config.ConnectionString, config.Client, p.log)
	if err != nil {
		return nil, err
	}
	if p.conn, err = connect(); err != nil {
		return nil, err
	}
	p.cfg.ConnectionString = withoutPassword(config.ConnectionString)
	p.idle = make(chan struct{})
	p.closing, p.cancelUnsent = context.WithCancelCause(context.Background())
	p.timeouts.init(esclient.WhileUnsent(context.Background(), p.closing), config.PublishTimeout, fmt.Errorf(
		"eventstore: not published within PublishTimeout, %v: %w", config.PublishTimeout, context.DeadlineExceeded))
	return p, nil
}

// Publish appends messages to the stream of a topic, in order, and returns after the server has confirmed them. It
// writes the messages for one stream all or none, if they fit into one append of [esclient.MaxAppendSize] bytes;
// otherwise it writes them in order with several appends. If [PublisherConfig.StreamName] spreads the messages over
// streams, Publish writes stream by stream, in the order of the first message of each.
//
// The call fails with a [*PublishError], which lists the written messages:
//   - if the server refuses an append;
//   - if the context of a message ends during the call, or [PublisherConfig.PublishTimeout] passes;
//   - if a message is nil or the Marshaler refuses it: the PublishError then wraps a [*MarshalError], and nothing is
//     written.
//
// Publish does not change messages.
//
// EventStore has no delayed delivery. A message that package delay of Watermill has given a delay is delivered at once,
// with its metadata, and the logger gets an error, once for each topic. Publish does not refuse it, because the
// middleware DelayOnError leaves delays in messages that go to the poison queue. A message whose time has come is not
// logged: a Pub/Sub with delays may have held it back.
//
// A context that has ended before the call does not end it: Publish uses its values only. So a dead letter can be
// published after Watermill's Timeout, or the end of its subscription, has ended its context. To hold such a message
// back, check its context before the call.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if !p.begin() {
		return ErrPublisherClosed
	}
	defer p.end()
	if len(messages) == 0 {
		return nil
	}
	return p.publish(topic, messages)
}

// publish is Publish for at least one message, after begin. It is a function of its own, as is publishOne: Go makes
// the defers of small functions cheap.
func (p *Publisher) publish(topic string, messages []*message.Message) error {
	if err := refuseNil(messages); err != nil {
		return &PublishError{Topic: topic, NotWritten: messages, Err: err}
	}
	ctx, cancel := p.context(messages) // first: a context that ends from now on ends the call
	defer cancel()
	if len(messages) == 1 {
		return p.publishOne(ctx, topic, messages)
	}
	appends, err := p.plan(topic, messages)
	if err != nil {
		return &PublishError{Topic: topic, NotWritten: messages, Err: err}
	}
	return p.perform(ctx, topic, messages, appends)
}

// publishOne publishes one message, in memory that a pool reuses.
func (p *Publisher) publishOne(ctx context.Context, topic string, messages []*message.Message) error {
	one := onePlans.Get().(*onePlan)
	defer one.release()
	if err := p.planOne(one, topic, messages); err != nil {
		return &PublishError{Topic: topic, NotWritten: messages, Err: err}
	}
	return p.perform(ctx, topic, messages, one.appends[:])
}

// perform performs the planned appends in order.
func (p *Publisher) perform(
	ctx context.Context, topic string, messages []*message.Message, appends []plannedAppend,
) error {
	for i := range appends {
		if err := p.append(ctx, appends, i); err != nil {
			return publishError(topic, messages, appends, i, err)
		}
		p.traceAppend(topic, &appends[i])
	}
	return nil
}

// publisherClosed is added to running by Close, and makes it negative.
const publisherClosed = math.MinInt64 / 2

// begin counts a call as running. It returns false if the Publisher is closed.
func (p *Publisher) begin() bool {
	if p.running.Add(1) > 0 {
		return true
	}
	p.end()
	return false
}

func (p *Publisher) end() { p.calls(-1) }

// calls adds n to running. The last call that ends after Close has begun closes idle.
func (p *Publisher) calls(n int64) {
	if p.running.Add(n) == publisherClosed {
		p.idleOnce.Do(func() { close(p.idle) })
	}
}

// context returns a context that ends when the context of a message ends, unless that has ended already, or when the
// timeout passes. It has the values of the first message's context.
func (p *Publisher) context(messages []*message.Message) (context.Context, context.CancelFunc) {
	first := messages[0].Context()
	ctx, cancel := p.firstContext(first)
	last := first // the messages of a call often share a context
	for _, m := range messages[1:] {
		c := m.Context()
		if c != first && c != last && c.Done() != nil && c.Err() == nil {
			ctx, cancel = endsWith(ctx, c, cancel)
		}
		last = c
	}
	return ctx, cancel
}

// firstContext returns the context of a call, given that of its first message.
func (p *Publisher) firstContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == context.Background() {
		return p.timeouts.shared(), func() {}
	}
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := p.timeouts.limited(esclient.WhileUnsent(ctx, p.closing))
	if p.cfg.Client == nil {
		return ctx, cancel // Close ends its calls
	}
	return endsWith(ctx, p.timeouts.ctx, cancel)
}

// endsWith returns a child of ctx that also ends when other ends.
func endsWith(
	ctx, other context.Context, cancel context.CancelFunc,
) (context.Context, context.CancelFunc) {
	joined, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { end(context.Cause(other)) })
	return joined, func() {
		stop()
		end(context.Canceled)
		cancel()
	}
}

// append performs one planned append. With RepublishUnknown it repeats the append while the outcome is unknown.
func (p *Publisher) append(ctx context.Context, appends []plannedAppend, i int) error {
	a := &appends[i]
	var unknown error // of an earlier attempt
	delays := backoff.BackOff(nil)
	for {
		result, err := p.conn.client.Append(ctx, a.stream, a.expected, a.events...)
		if err == nil {
			if a.continued {
				appends[i+1].follow(a.expected, result.LastEventNumber)
			}
			return nil
		}
		if !errors.Is(err, esclient.ErrOutcomeUnknown) {
			return a.stillUnknown(err, unknown)
		}
		if !p.cfg.RepublishUnknown || ctx.Err() != nil || errors.Is(err, esclient.ErrClosed) {
			return err
		}
		if unknown == nil {
			ctx = esclient.WhileUnsent(ctx, context.Background()) // the messages were sent: Close waits for them
			delays = republishDelays()
		}
		unknown = err
		p.log.Info("Publishing again: the outcome of the last attempt is unknown", watermill.LogFields{
			"stream": a.stream, "messages": len(a.messages), "reason": err.Error(),
		})
		sleep(ctx, delays.NextBackOff())
	}
}

// Delays between attempts with RepublishUnknown: a server that cannot write may refuse each attempt at once.
const (
	republishDelay    = 10 * time.Millisecond
	maxRepublishDelay = time.Second
)

func republishDelays() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(republishDelay),
		backoff.WithMaxInterval(maxRepublishDelay),
		backoff.WithMaxElapsedTime(0),
	)
}

// stillUnknown returns the error of a failed attempt. After an earlier attempt of unknown outcome the outcome stays
// unknown, unless the server has compared the event ids with the stream.
func (a *plannedAppend) stillUnknown(err, unknown error) error {
	if unknown == nil || a.expected > esclient.NoStream && errors.Is(err, esclient.ErrWrongExpectedVersion) {
		return err
	}
	return &esclient.OutcomeUnknownError{Err: fmt.Errorf("%w; before that: %w", err, unknown)}
}

func (p *Publisher) traceAppend(topic string, a *plannedAppend) {
	if !p.trace {
		return
	}
	for _, m := range a.messages {
		p.log.Trace("Message published", watermill.LogFields{
			"topic": topic, "stream": a.stream, "message_uuid": m.UUID,
		})
	}
}

// Close makes later Publish calls fail with [ErrPublisherClosed], and running ones that have not sent their messages:
// they write nothing. It waits for the calls that have sent their messages, for [PublisherConfig.CloseTimeout] at most,
// and then closes the connection if the Publisher owns it. Calls that are still running then fail, also with a borrowed
// Client. Close may be called several times and concurrently. Each call returns when the Publisher is closed.
func (p *Publisher) Close() error {
	first := false
	p.closed.Do(func() {
		first = true
		p.calls(publisherClosed) // from now on no call begins
		p.cancelUnsent(ErrPublisherClosed)
	})
	if !closedWithin(p.idle, p.cfg.CloseTimeout) && first {
		p.log.Error("Publish calls are still running after CloseTimeout", nil,
			watermill.LogFields{"timeout": p.cfg.CloseTimeout.String()})
	}
	p.conn.close() // each caller closes: the client detects a call by one of its hooks, such as a logger
	p.timeouts.end()
	if first {
		p.log.Debug("Publisher closed", nil)
	}
	return nil
}
