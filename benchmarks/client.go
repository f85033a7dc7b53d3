package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// client is the interface of all contenders that use an EventStore, so that they do the same work.
type client interface {
	// append writes events of the same data and waits for the reply.
	append(ctx context.Context, stream string, data []byte, events int) error
	// read reads a stream from its beginning to its end.
	read(ctx context.Context, stream string, page int, seen func()) error
	// catchUp subscribes from the beginning of a stream and returns a function that ends the subscription.
	catchUp(ctx context.Context, stream string, page int, seen func()) (stop func(), err error)
	// catchUpAll subscribes to all streams, and sees the events of streams with the given prefix.
	catchUpAll(
		ctx context.Context, names string, after esclient.Position, page int, seen func(),
	) (stop func(), err error)
	// subscribe subscribes to new events.
	subscribe(ctx context.Context, stream string, seen func()) (stop func(), err error)
	// createGroup makes a persistent subscription group from the beginning of a stream.
	createGroup(ctx context.Context, stream, group string) error
	// consume subscribes to a group and acks each event before seen is called.
	consume(ctx context.Context, stream, group string, inFlight int, seen func()) (stop func(), err error)
	// done tells why events will not come any more.
	done() <-chan error
	close()
}

// overClient makes a contender of a client.
func overClient(open func(ctx context.Context, url string, m *meter) (client, error)) contender {
	return func(ctx context.Context, j job, m *meter) (result, error) {
		c, err := open(ctx, j.URL, m)
		if err != nil {
			return result{}, fmt.Errorf("connecting: %w", err)
		}
		defer c.close()
		switch j.Work {
		case appending:
			return workAppend(ctx, c, j, m)
		case reading:
			return workRead(ctx, c, j, m)
		case catchingUp, volatile, persistent:
			return workReceive(ctx, c, j, m)
		}
		return result{}, fmt.Errorf("%s cannot %s", j.Contender, j.Work)
	}
}

func workAppend(ctx context.Context, c client, j job, m *meter) (result, error) {
	data := j.payload()
	names := j.streams()
	return workCalls(j, m, func(n int) error { return c.append(ctx, names[n%len(names)], data, j.Batch) })
}

var errMissing = errors.New("there were fewer events in the stream than were written")

// workRead reads a stream, or each of several.
func workRead(ctx context.Context, c client, j job, m *meter) (result, error) {
	if j.Streams > 1 {
		names := j.streams()
		return workCalls(j, m, func(n int) error {
			left := j.Batch
			err := c.read(ctx, names[n], pageSize, func() { left-- })
			if err == nil && left > 0 {
				err = errMissing
			}
			return err
		})
	}
	seen, all := m.counter(j)
	m.settle()
	if err := c.read(ctx, j.Stream, pageSize, seen); err != nil {
		return result{}, err
	}
	select {
	case <-all:
		return m.stop(), nil
	default:
		return result{}, errMissing
	}
}

// workReceive measures until every subscription has got its events.
func workReceive(ctx context.Context, c client, j job, m *meter) (result, error) {
	if j.Work == persistent {
		if err := c.createGroup(ctx, j.Stream, j.Group); err != nil {
			return result{}, fmt.Errorf("making the group: %w", err)
		}
	}
	seen, all := m.counter(j)
	m.settle()
	for range j.Subs {
		stop, err := subscribe(ctx, c, j, seen)
		if err != nil {
			return result{}, fmt.Errorf("subscribing: %w", err)
		}
		defer stop()
	}
	m.tell(0)
	select {
	case <-all:
		return m.stop(), nil
	case err := <-c.done():
		return result{}, fmt.Errorf("the subscription ended: %w", err)
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}

// subscribe makes a subscription of the kind that a job is about.
func subscribe(ctx context.Context, c client, j job, seen func()) (stop func(), err error) {
	switch {
	case j.Work == volatile:
		return c.subscribe(ctx, j.Stream, seen)
	case j.Work == persistent:
		return c.consume(ctx, j.Stream, j.Group, j.InFlight, seen)
	case j.Streams > 1:
		return c.catchUpAll(ctx, j.Stream+"-", j.After, pageSize, seen)
	}
	return c.catchUp(ctx, j.Stream, pageSize, seen)
}
