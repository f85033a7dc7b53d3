package main

import (
	"context"
	"math"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// openPusher connects to the leader itself. The pusher writes the events that the contenders receive.
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

// Limits for how far a pusher gets ahead of a subscription. Without them servers cut off a connection with 10 MiB
// waiting, and go-gesclient gives up a subscription with 2000 events waiting.
const (
	aheadEvents = 1500
	aheadBytes  = 2 << 20 // of all subscriptions together
	frameBytes  = 150     // bytes of an event on the wire besides its data
)

// ahead is that in events of the stream.
func (j *job) ahead() int {
	return max(min(aheadEvents, aheadBytes/((j.Size+frameBytes)*j.fanOut())), 4)
}

// groupInFlight is how many events of a size the server pushes to a subscription of a group ahead of the acks; of large
// ones fewer, for the same reason.
func groupInFlight(size int) int { return min(200, 3*aheadBytes/size) }

// pushBytes is how much data the server gets to send by one append of a pusher.
const pushBytes = 128 << 10

// pusher writes the events of a job.
type pusher struct {
	c       *esclient.Client
	streams []string
	batch   []esclient.EventData
	ahead   int
	appends int
	written int
	total   int
}

func newPusher(c *esclient.Client, j job) *pusher {
	p := &pusher{c: c, streams: j.streams(), ahead: j.ahead(), total: j.total() / j.fanOut()}
	size := max(min(pushBytes/j.Size/j.fanOut(), p.ahead/4), 1)
	if j.Streams > 1 {
		size = p.total / j.Streams
	}
	p.batch = make([]esclient.EventData, size)
	data := j.payload()
	for i := range p.batch {
		p.batch[i] = esclient.EventData{Type: eventType, Data: data}
	}
	return p
}

// push writes, one append after the other, until everything is written or it is far enough ahead of the subscription.
func (p *pusher) push(ctx context.Context, seen int) error {
	for p.written < min(p.total, seen+p.ahead) {
		batch := p.batch[:min(len(p.batch), p.total-p.written)]
		stream := p.streams[p.appends%len(p.streams)]
		if _, err := p.c.Append(ctx, stream, esclient.Any, batch...); err != nil {
			return err
		}
		p.appends++
		p.written += len(batch)
	}
	return nil
}

// prepare writes all events of a job, and returns the position of the first.
func prepare(ctx context.Context, c *esclient.Client, j job) (after esclient.Position, err error) {
	before, err := c.Append(ctx, "before-"+j.Stream, esclient.Any, esclient.EventData{Type: eventType})
	if err != nil {
		return after, err
	}
	p := newPusher(c, j)
	p.ahead = math.MaxInt
	return before.Position, p.push(ctx, 0)
}
