package main

import (
	"context"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// openPusher connects the leader itself, which writes what the contenders receive.
func openPusher(ctx context.Context, url string) (*esclient.Client, error) {
	c, err := esclient.Open(url)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// How far a pusher gets ahead of a subscription, which is never waited for by a server: it cuts off a connection that
// has 10 MiB waiting, and go-gesclient gives up a subscription with 2000 events waiting.
const (
	aheadEvents = 1500
	aheadBytes  = 2 << 20 // in all subscriptions together
	// frameBytes is what an event takes on the wire besides its data.
	frameBytes = 150
)

// ahead is that in events, for a subscription.
func (j *job) ahead() int {
	return max(min(aheadEvents, aheadBytes/((j.Size+frameBytes)*j.Subs)), 4)
}

// pushBytes is how much one append of a pusher holds, in bytes of data that come out.
const pushBytes = 32 << 10

// pusher writes the events of a job.
type pusher struct {
	c       *esclient.Client
	stream  string
	batch   []esclient.EventData
	ahead   int
	total   int
	written int
}

func newPusher(c *esclient.Client, j job) *pusher {
	p := &pusher{c: c, stream: j.Stream, ahead: j.ahead(), total: (j.WarmUp + j.Events) / j.Subs}
	p.batch = make([]esclient.EventData, min(max(pushBytes/j.Size/j.Subs, 1), 500))
	for i := range p.batch {
		p.batch[i] = esclient.EventData{Type: eventType, Data: payload(j.Size)}
	}
	return p
}

// push writes, one append after the other, until everything is written or it is far enough ahead of what was seen.
func (p *pusher) push(ctx context.Context, seen int) error {
	for p.written < min(p.total, seen+p.ahead) {
		batch := p.batch[:min(len(p.batch), p.total-p.written)]
		if _, err := p.c.Append(ctx, p.stream, esclient.Any, batch...); err != nil {
			return err
		}
		p.written += len(batch)
	}
	return nil
}
