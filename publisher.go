package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Publisher is Watermill's Publisher for EventStore. Its methods may be called by any number of goroutines at once.
type Publisher struct {
	cfg      PublisherConfig
	conn     connection
	log      watermill.LoggerAdapter
	trace    bool
	timeouts timeouts

	mu      sync.Mutex
	closed  bool
	pending sync.WaitGroup // Publish calls under way
	idle    chan struct{}  // closed when there are none any more, after Close

	closing      context.Context // ends with Close: a message that was not sent by then is not sent
	cancelUnsent context.CancelCauseFunc
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher makes a Publisher. It fails for a configuration that cannot be used, with an *esclient.ConfigError, but
// not for a server that cannot be reached: Publish waits for the connection, and logger, which may be nil, is told of
// it.
func NewPublisher(config PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	p := &Publisher{cfg: config, log: orNop(logger).With(watermill.LogFields{"provider": "eventstore"})}
	p.trace = !isNop(p.log)
	var err error
	if p.conn, err = connect(config.ConnectionString, config.Client, p.log); err != nil {
		return nil, err
	}
	p.cfg.ConnectionString = withoutPassword(config.ConnectionString)
	p.idle = make(chan struct{})
	p.closing, p.cancelUnsent = context.WithCancelCause(context.Background())
	p.timeouts.init(esclient.WhileUnsent(context.Background(), p.closing), config.PublishTimeout, fmt.Errorf(
		"eventstore: not published within PublishTimeout, %v: %w", config.PublishTimeout, context.DeadlineExceeded))
	return p, nil
}

// Publish appends messages to the stream of a topic, in order, and returns when the server has them safe. Messages for
// one stream are written all together or not at all, as long as they fit into one append of esclient.MaxAppendSize
// bytes; more are written in order, by several. Messages that PublisherConfig.StreamName spreads over several streams
// are written stream by stream, in the order in which the streams occur.
//
// The call ends early when the context of any of its messages ends during the call, or after
// PublisherConfig.PublishTimeout. The error is then, as for every failure of the server, a *PublishError, which tells
// which messages were written. A message that is nil, or that the Marshaler refuses, is a *MarshalError, and nothing is
// written. Messages are not changed.
//
// A context that has ended before the call does not end it: such a message is published as if it had a context that
// never ends, with the same values. So a dead letter gets out, on which Watermill's Timeout, or the end of a
// subscription, has left a context of that kind. Whoever wants a message kept back after the end of its context looks
// at the context before the call.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if !p.begin() {
		return ErrPublisherClosed
	}
	defer p.pending.Done()
	if len(messages) == 0 {
		return nil
	}
	if err := refuseNil(messages); err != nil {
		return &PublishError{Topic: topic, NotWritten: messages, Err: err}
	}
	ctx, cancel := p.context(messages) // first of all: what ends from now on counts
	defer cancel()
	if len(messages) == 1 {
		one, err := p.planOne(topic, messages)
		if err != nil {
			return &PublishError{Topic: topic, NotWritten: messages, Err: err}
		}
		defer one.release()
		return p.perform(ctx, topic, messages, one.appends[:])
	}
	appends, err := p.plan(topic, messages)
	if err != nil {
		return &PublishError{Topic: topic, NotWritten: messages, Err: err}
	}
	return p.perform(ctx, topic, messages, appends)
}

// perform makes the planned appends, one after the other.
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

func (p *Publisher) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.pending.Add(1)
	return true
}

// context returns a context that ends with that of any message, unless that has ended already, and with the timeout.
// Its values are the first message's.
func (p *Publisher) context(messages []*message.Message) (context.Context, context.CancelFunc) {
	first := messages[0].Context()
	ctx, cancel := p.firstContext(first)
	last := first // the messages of a call often share one
	for _, m := range messages[1:] {
		c := m.Context()
		if c != first && c != last && c.Done() != nil && c.Err() == nil {
			ctx, cancel = endsWith(ctx, cancel, c)
		}
		last = c
	}
	return ctx, cancel
}

// firstContext returns the context for a call whose first message has ctx.
func (p *Publisher) firstContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == context.Background() {
		return p.timeouts.shared(), func() {}
	}
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := p.timeouts.of(esclient.WhileUnsent(ctx, p.closing))
	if p.conn.owned {
		return ctx, cancel // Close ends its calls
	}
	return endsWith(ctx, cancel, p.timeouts.ctx)
}

// endsWith returns a context like ctx that also ends when other does.
func endsWith(
	ctx context.Context, cancel context.CancelFunc, other context.Context,
) (context.Context, context.CancelFunc) {
	joined, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { end(context.Cause(other)) })
	return joined, func() {
		stop()
		end(context.Canceled)
		cancel()
	}
}

// append performs one of the planned appends, and again while its outcome is unknown if that is wanted.
func (p *Publisher) append(ctx context.Context, appends []plannedAppend, i int) error {
	a := &appends[i]
	var unknown error // what an earlier attempt ended with
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
			ctx = esclient.WhileUnsent(ctx, context.Background()) // it was sent: Close waits for it
			delays = republishDelays()
		}
		unknown = err
		p.log.Info("Publishing again, since it is not known whether it was written", watermill.LogFields{
			"stream": a.stream, "messages": len(a.messages), "reason": err.Error(),
		})
		sleep(ctx, delays.NextBackOff())
	}
}

// Pauses before messages are published again: a server that cannot write for a while may say so at once.
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

// stillUnknown returns the error of an append that was not written. That says nothing of an earlier attempt of unknown
// outcome, unless the server has compared its event ids with the stream.
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

// Close lets further Publish calls fail with ErrPublisherClosed, and those that merely wait for a connection, or for a
// server to get ready: their messages are not written. It waits for those whose messages were sent, at most for
// CloseTimeout, and closes the connection if it is the Publisher's own; what was still under way fails then, with a
// borrowed Client, too. It may be called more than once and by several goroutines, and returns when all is done.
func (p *Publisher) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if first {
		p.cancelUnsent(ErrPublisherClosed)
		go func() {
			p.pending.Wait()
			close(p.idle)
		}()
	}
	if !closedWithin(p.idle, p.cfg.CloseTimeout) && first {
		p.log.Error("Publish calls are still under way after CloseTimeout", nil,
			watermill.LogFields{"timeout": p.cfg.CloseTimeout.String()})
	}
	err := p.conn.close() // by each caller: the client knows whether it is one of its hooks, such as a logger
	p.timeouts.end()
	if first {
		p.log.Debug("Publisher closed", nil)
	}
	return err
}
