package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const eventType = "benchmarked"

// ownClient drives this project's client.
type ownClient struct {
	c     *esclient.Client
	ended chan error
}

// dropCounter counts lost connections.
type dropCounter struct{ m *meter }

func (d dropCounter) OnDisconnected(info esclient.ConnectionInfo) {
	if !errors.Is(info.Err, esclient.ErrClosed) {
		d.m.drops.Add(1)
	}
}

func openESClient(ctx context.Context, url string, m *meter) (client, error) {
	c, err := openCounted(ctx, url, m)
	if err != nil {
		return nil, err
	}
	return &ownClient{c: c, ended: make(chan error, 1)}, nil
}

// openCounted connects a client whose write calls and lost connections are counted.
func openCounted(ctx context.Context, url string, m *meter) (*esclient.Client, error) {
	cfg, err := esclient.ParseConnectionString(url)
	if err != nil {
		return nil, err
	}
	cfg.Dial = m.dial
	cfg.Hooks = append(cfg.Hooks, dropCounter{m})
	c, err := esclient.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (o *ownClient) append(ctx context.Context, stream string, data []byte, events int) error {
	if events == 1 {
		_, err := o.c.Append(ctx, stream, esclient.Any, esclient.EventData{Type: eventType, Data: data})
		return err
	}
	batch := make([]esclient.EventData, events)
	for i := range batch {
		batch[i] = esclient.EventData{Type: eventType, Data: data}
	}
	_, err := o.c.Append(ctx, stream, esclient.Any, batch...)
	return err
}

// workSource makes AppendFrom take the events from a source, with as many appends in flight as other contenders have.
func workSource(ctx context.Context, j job, m *meter) (result, error) {
	c, err := openCounted(ctx, j.URL, m)
	if err != nil {
		return result{}, fmt.Errorf("connecting: %w", err)
	}
	defer c.Close()
	event := esclient.EventData{Type: eventType, Data: j.payload()}
	seen, all := m.counter(j)
	counted := int64(0)
	m.settle()
	_, err = c.AppendFrom(ctx, j.Stream, esclient.Any, func(yield func(esclient.EventData, error) bool) {
		for range j.total() {
			if !yield(event, nil) {
				return
			}
		}
	}, esclient.AppendFromOptions{WindowEvents: j.InFlight, Progress: func(r esclient.AppendFromResult) {
		for ; counted < r.Events; counted++ {
			seen()
		}
	}})
	if err != nil {
		return result{}, err
	}
	<-all
	return m.stop(), nil
}

func (o *ownClient) read(ctx context.Context, stream string, page int, seen func()) error {
	for _, err := range o.c.ReadStream(ctx, stream, esclient.ReadOptions{PageSize: page}) {
		if err != nil {
			return err
		}
		seen()
	}
	return nil
}

func (o *ownClient) catchUp(ctx context.Context, stream string, page int, seen func()) (func(), error) {
	sub, err := o.c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{PageSize: page})
	if err != nil {
		return nil, err
	}
	go o.pull(ctx, sub, func(*esclient.Event) { seen() })
	return sub.Stop, nil
}

func (o *ownClient) catchUpAll(
	ctx context.Context, names string, after esclient.Position, page int, seen func(),
) (func(), error) {
	sub, err := o.c.SubscribeCatchUp(ctx, esclient.AllStream,
		esclient.CatchUpOptions{Start: esclient.AfterPosition(after), PageSize: page})
	if err != nil {
		return nil, err
	}
	go o.pull(ctx, sub, func(e *esclient.Event) {
		if strings.HasPrefix(e.Stream, names) {
			seen()
		}
	})
	return sub.Stop, nil
}

func (o *ownClient) subscribe(ctx context.Context, stream string, seen func()) (func(), error) {
	sub, err := o.c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	if err != nil {
		return nil, err
	}
	go o.pull(ctx, sub, func(*esclient.Event) { seen() })
	return sub.Stop, nil
}

func (o *ownClient) pull(ctx context.Context, sub *esclient.Subscription, seen func(*esclient.Event)) {
	for e, err := range sub.All(ctx) {
		if err != nil {
			o.end(err)
			return
		}
		seen(e)
	}
}

func (o *ownClient) createGroup(ctx context.Context, stream, group string) error {
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	settings.ReadBatchSize, settings.BufferSize, settings.LiveBufferSize = groupPage, groupBuffer, groupBuffer
	return o.c.CreatePersistent(ctx, stream, group, settings)
}

// The settings of the groups of all contenders. They keep the server from being the bottleneck.
const (
	groupPage   = 100
	groupBuffer = 1000
)

func (o *ownClient) consume(ctx context.Context, stream, group string, inFlight int, seen func()) (func(), error) {
	sub, err := o.c.ConnectPersistent(ctx, stream, group, esclient.PersistentOptions{InFlight: inFlight})
	if err != nil {
		return nil, err
	}
	go func() {
		for e, err := range sub.All(ctx) {
			if err == nil {
				err = sub.Ack(e)
			}
			if err != nil {
				o.end(err)
				return
			}
			seen()
		}
	}()
	return func() { _ = sub.Stop(ctx) }, nil
}

func (o *ownClient) end(err error) {
	select {
	case o.ended <- err:
	default:
	}
}

func (o *ownClient) done() <-chan error { return o.ended }

func (o *ownClient) close() { o.c.Close() }
