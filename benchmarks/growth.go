package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// step is the place of a scenario in a series of scenarios that differ in one number.
type step struct {
	series string
	at     string // the number, with its unit
}

// growthScenarios lists the scenarios that show how the cost of an event, and the heap, depend on the number of topics
// and subscriptions, the size of events, the length of a backlog, and the time that a program has been running.
func growthScenarios() []scenario {
	var list []scenario
	add := func(series, at, contender string, j job) {
		list = append(list, scenario{
			name: series + ", " + at, contenders: []string{contender}, job: j, growth: &step{series, at},
		})
	}
	for _, n := range []int{100, 1000} {
		add("Subscribe as a new group", fmt.Sprintf("%d topics", n), ownDefault,
			job{Work: joining, Events: n, Streams: n})
	}
	for _, n := range []int{100, 1000, 10_000} {
		add("Subscribe as an existing group", fmt.Sprintf("%d topics", n), ownDefault,
			job{Work: joining, Events: n, Streams: n, Existing: true})
	}
	for _, n := range []int{1, 100, 10_000} {
		add("messages of groups", fmt.Sprintf("%d topics", n), ownDefault,
			job{Work: sharing, Events: 200_000, Size: 256, Streams: n, Existing: true})
	}
	for _, n := range []int{1, 10, 100, 1000} {
		add("fan-out", fmt.Sprintf("%d subscriptions", n), esClient,
			job{Work: volatile, Events: 300_000, Size: 256, Subs: n})
	}
	for _, n := range []sizedEvents{
		{events: 200_000, size: 16}, {events: 200_000, size: 256}, {events: 60_000, size: 4 << 10},
		{events: 4_000, size: 64 << 10}, {events: 500, size: 1 << 20},
	} {
		add("append", bytesName(n.size), esClient, job{Work: appending, Events: n.events, Size: n.size, InFlight: 64})
		add("catch-up", bytesName(n.size), esClient, job{Work: catchingUp, Events: n.events, Size: n.size})
		add("router", bytesName(n.size), ownDefault, job{Work: routing, Events: n.events, Size: n.size})
	}
	for _, n := range []int{100_000, 1_000_000, 10_000_000} {
		add("backlog", fmt.Sprintf("%d events", n), esClient, job{Work: catchingUp, Events: n, Size: 16})
	}
	for _, n := range []int{1_000, 10_000} {
		add("subscriptions that come and go", fmt.Sprintf("%d times", n), ownDefault,
			job{Work: churning, Events: n, Size: 256})
	}
	return list
}

// workJoin measures Subscribe calls, each to a topic of its own whose group does not exist yet.
func workJoin(ctx context.Context, sub message.Subscriber, j job, m *meter) (result, error) {
	m.settle()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, topic := range j.streams() {
		if i == j.WarmUp {
			m.start()
		}
		messages, err := sub.Subscribe(ctx, topic)
		if err != nil {
			return result{}, err
		}
		wg.Go(func() {
			for msg := range messages {
				msg.Ack()
			}
		})
	}
	return m.stop(), nil
}

// workShare receives messages that the leader publishes when there is a subscription to each topic.
func workShare(ctx context.Context, sub message.Subscriber, j job, m *meter) (result, error) {
	seen, all := m.counter(j)
	m.settle()
	for _, topic := range j.streams() {
		messages, err := sub.Subscribe(ctx, topic)
		if err != nil {
			return result{}, err
		}
		go func() {
			for msg := range messages {
				msg.Ack()
				seen()
			}
		}()
	}
	m.tell(0)
	select {
	case <-all:
		return m.stop(), nil
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}

// churnDrop is after how many subscriptions the connection is cut.
const churnDrop = 500

// workChurn subscribes as a group, publishes a message, receives it and ends the subscription, again and again. From
// time to time the connection is cut in between.
func workChurn(ctx context.Context, j job, m *meter) (r result, err error) {
	cfg, err := esclient.ParseConnectionString(j.URL)
	if err != nil {
		return result{}, err
	}
	var last net.Conn // of the only client, which dials one connection at a time
	var mu sync.Mutex
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := m.dial(ctx, network, address)
		mu.Lock()
		defer mu.Unlock()
		last = nc
		return nc, err
	}
	c, err := esclient.New(cfg)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: c}, nil)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	data := j.payload()
	m.settle()
	for i := range j.total() {
		if i == j.WarmUp {
			m.start()
		}
		if err := oneLife(ctx, c, pub, j, data); err != nil {
			return result{}, err
		}
		if i%churnDrop == 0 {
			mu.Lock()
			last.Close()
			mu.Unlock()
		}
	}
	return m.stop(), nil
}

// oneLife is the life of a Subscriber that handles one message.
func oneLife(ctx context.Context, c *esclient.Client, pub message.Publisher, j job, data []byte) error {
	sub, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{Client: c, ConsumerGroup: j.Group}, nil)
	if err != nil {
		return err
	}
	messages, err := sub.Subscribe(ctx, j.Stream)
	if err != nil {
		return err
	}
	want := message.NewMessage(watermill.NewUUID(), data)
	if err := pub.Publish(j.Stream, want); err != nil {
		return err
	}
	for {
		select {
		case msg, open := <-messages:
			if !open {
				return errChannelClosed
			}
			if msg.Ack(); msg.UUID == want.UUID {
				return sub.Close()
			}
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), sub.Close())
		}
	}
}

// series joins the scenarios of each series into one, whose contenders are the numbers: so they are drawn to one scale.
func series(outcomes []*outcome) []*outcome {
	var joined []*outcome
	named := make(map[string]*outcome)
	for _, o := range outcomes {
		if o.growth == nil {
			continue
		}
		s := named[o.growth.series]
		if s == nil {
			s = &outcome{Name: o.growth.series, Job: o.Job}
			named[s.Name], joined = s, append(joined, s)
		}
		for _, m := range o.Contenders {
			s.Contenders = append(s.Contenders, measured{Name: o.growth.at, Rounds: m.Rounds})
		}
	}
	return joined
}
