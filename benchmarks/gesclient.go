package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/jdextraze/go-gesclient"
	ges "github.com/jdextraze/go-gesclient/client"
	"github.com/jdextraze/go-gesclient/common"
	"github.com/jdextraze/go-gesclient/tasks"
	uuid "github.com/satori/go.uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// otherClient drives github.com/jdextraze/go-gesclient.
type otherClient struct {
	c     ges.Connection
	ended chan error
}

// gesConcurrency allows more concurrent operations than any scenario has in flight or subscribed.
const gesConcurrency = 10_000

func openGesClient(_ context.Context, server string, m *meter) (client, error) {
	m.unwatched = true // its sockets cannot be reached
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	settings := ges.CreateConnectionSettings().LimitConcurrentOperationsTo(gesConcurrency).
		LimitOperationsQueueTo(gesConcurrency).Build()
	c, err := gesclient.Create(settings, u, "benchmark")
	if err != nil {
		return nil, err
	}
	o := &otherClient{c: c, ended: make(chan error, 1)}
	connected := make(chan struct{}, 1)
	err = c.Connected().Add(func(ges.Event) error {
		select {
		case connected <- struct{}{}:
		default:
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := c.ConnectAsync().Wait(); err != nil {
		return nil, err
	}
	select {
	case <-connected:
	case <-time.After(10 * time.Second):
		return nil, fmt.Errorf("no connection within 10 s")
	}
	return o, c.Disconnected().Add(func(ges.Event) error { m.drops.Add(1); return nil })
}

// gesID makes ids as cheaply as the other contender does: the library leaves that to its user.
func gesID() (id uuid.UUID) {
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[i], id[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	return id
}

// await waits for the result of a task of the library.
func await(t *tasks.Task, err error) error {
	if err != nil {
		return err
	}
	return t.Error()
}

func (o *otherClient) append(_ context.Context, stream string, data []byte, events int) error {
	batch := make([]*ges.EventData, events)
	for i := range batch {
		batch[i] = ges.NewEventData(gesID(), eventType, false, data, nil)
	}
	return await(o.c.AppendToStreamAsync(stream, ges.ExpectedVersion_Any, batch, nil))
}

func (o *otherClient) read(_ context.Context, stream string, page int, seen func()) error {
	for from := 0; ; {
		task, err := o.c.ReadStreamEventsForwardAsync(stream, from, page, false, nil)
		if err := await(task, err); err != nil {
			return err
		}
		slice := task.Result().(*ges.StreamEventsSlice)
		for range slice.Events() {
			seen()
		}
		if slice.IsEndOfStream() {
			return nil
		}
		from = slice.NextEventNumber()
	}
}

func (o *otherClient) catchUp(_ context.Context, stream string, page int, seen func()) (func(), error) {
	sub, err := o.c.SubscribeToStreamFrom(stream, nil, ges.NewCatchUpSubscriptionSettings(10_000, page, false, false),
		func(ges.CatchUpSubscription, *ges.ResolvedEvent) error { seen(); return nil }, nil,
		func(_ ges.CatchUpSubscription, reason ges.SubscriptionDropReason, err error) error {
			return o.dropped(reason, err)
		}, nil)
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Stop() }, nil
}

func (o *otherClient) catchUpAll(
	_ context.Context, names string, after esclient.Position, page int, seen func(),
) (func(), error) {
	sub, err := o.c.SubscribeToAllFrom(ges.NewPosition(after.Commit, after.Prepare),
		ges.NewCatchUpSubscriptionSettings(10_000, page, false, false),
		func(_ ges.CatchUpSubscription, e *ges.ResolvedEvent) error {
			if strings.HasPrefix(e.OriginalStreamId(), names) {
				seen()
			}
			return nil
		}, nil,
		func(_ ges.CatchUpSubscription, reason ges.SubscriptionDropReason, err error) error {
			return o.dropped(reason, err)
		}, nil)
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Stop() }, nil
}

func (o *otherClient) subscribe(_ context.Context, stream string, seen func()) (func(), error) {
	task, err := o.c.SubscribeToStreamAsync(stream, false,
		func(ges.EventStoreSubscription, *ges.ResolvedEvent) error { seen(); return nil },
		func(_ ges.EventStoreSubscription, reason ges.SubscriptionDropReason, err error) error {
			return o.dropped(reason, err)
		}, nil)
	if err := await(task, err); err != nil {
		return nil, err
	}
	sub := task.Result().(ges.EventStoreSubscription)
	return func() { sub.Close() }, nil
}

func (o *otherClient) createGroup(_ context.Context, stream, group string) error {
	return await(o.c.CreatePersistentSubscriptionAsync(stream, group, ges.NewPersistentSubscriptionSettings(
		false, 0, false, 30*time.Second, 10, groupBuffer, groupPage, groupBuffer, 2*time.Second, 10, 1000, 0,
		common.SystemConsumerStrategies_RoundRobin), nil))
}

// consume has the first events wait until the subscription is there. The library acks them through it after the
// handler, and would crash where an event is handled sooner than the task, which is more often than not.
func (o *otherClient) consume(_ context.Context, stream, group string, inFlight int, seen func()) (func(), error) {
	there := make(chan struct{})
	task, err := o.c.ConnectToPersistentSubscriptionAsync(stream, group,
		func(ges.PersistentSubscription, *ges.ResolvedEvent) error { <-there; seen(); return nil },
		func(_ ges.PersistentSubscription, reason ges.SubscriptionDropReason, err error) error {
			return o.dropped(reason, err)
		}, nil, inFlight, true)
	if err := await(task, err); err != nil {
		return nil, err
	}
	close(there)
	sub := task.Result().(ges.PersistentSubscription)
	return func() { _ = sub.Stop() }, nil
}

func (o *otherClient) dropped(reason ges.SubscriptionDropReason, err error) error {
	select {
	case o.ended <- fmt.Errorf("dropped: %v: %w", reason, err):
	default:
	}
	return nil
}

func (o *otherClient) done() <-chan error { return o.ended }

// close does nothing, since the process ends.
func (o *otherClient) close() {}
