// Command cluster publishes to a cluster while its leader dies, and shows what becomes of the connection and the
// messages.
//
//	go -C _examples/cluster run .    on an embedded cluster of three, whose leader it kills
//
// On a real cluster it publishes for as long; there somebody else must kill a node:
//
//	docker compose --profile cluster up --detach --wait
//	EVENTSTORE_URL=discover://admin:changeit@127.0.0.1:2121 go -C _examples/cluster run . &
//	docker compose kill node1
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// messages is how many are published, one every pace.
const (
	messages = 60
	pace     = 50 * time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := run(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url string) error {
	d := &demo{
		diary: &diary{out: out, began: time.Now()}, topic: "orders-" + watermill.NewShortUUID(), at: func(int) {},
		received: make(map[string]int),
	}
	if url == "" {
		cluster, err := estest.StartCluster(3)
		if err != nil {
			return err
		}
		defer cluster.Close()
		url, d.at = cluster.ConnectionString(), func(n int) { disturb(cluster, d.diary, n) }
	}
	// The publisher and the subscriber share one client. It finds the leader by gossip, and follows it.
	cfg, err := esclient.ParseConnectionString(url)
	if err != nil {
		return err
	}
	cfg.Hooks = append(cfg.Hooks, d.diary)
	client, err := esclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	return d.run(ctx, client)
}

// disturb kills the leader of the embedded cluster in the middle of the messages, and starts it again later.
func disturb(cluster *estest.Cluster, diary *diary, n int) {
	switch n {
	case messages / 3:
		diary.note("  node 0, the leader, is killed")
		if err := cluster.Kill(0); err != nil {
			diary.note("  it does not die: %v", err)
		}
	case 2 * messages / 3:
		if err := cluster.Restart(0); err != nil {
			diary.note("  it does not start: %v", err)
			return
		}
		diary.note("  node 0 is back; node %d leads", cluster.Leader())
	}
}

// demo publishes and consumes.
type demo struct {
	*diary
	topic string
	at    func(n int) // called before each message is published

	counting sync.Mutex
	received map[string]int // how often each message came
}

func (d *demo) run(ctx context.Context, client *esclient.Client) error {
	sub, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{Client: client, ConsumerGroup: "shipping"}, nil)
	if err != nil {
		return err
	}
	defer sub.Close()
	incoming, err := sub.Subscribe(ctx, d.topic)
	if err != nil {
		return err
	}
	all := make(chan struct{}) // closed when every message has come
	go d.consume(incoming, all)
	if err := d.publish(ctx, client); err != nil {
		return err
	}
	select {
	case <-all:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	duplicates := 0
	d.counting.Lock()
	defer d.counting.Unlock()
	for _, n := range d.received {
		duplicates += n - 1
	}
	d.note("consumed all %d messages; %d came once more, since acks were lost with the leader",
		len(d.received), duplicates)
	return nil
}

// publish publishes each message until it is confirmed. Where the outcome is unknown, it may be written already: it is
// published again with the same id, which an exact version, or the consumer, can tell from another message.
func (d *demo) publish(ctx context.Context, client *esclient.Client) error {
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: client, UseMessageUUIDAsEventID: true}, nil)
	if err != nil {
		return err
	}
	defer pub.Close()
	for n := range messages {
		d.at(n)
		msg := message.NewMessage(watermill.NewUUID(), message.Payload(fmt.Sprintf("order %d", n)))
		msg.SetContext(ctx)
		began := time.Now()
		for {
			if err = pub.Publish(d.topic, msg); err == nil {
				break
			}
			if ctx.Err() != nil {
				return err
			}
			if errors.Is(err, esclient.ErrOutcomeUnknown) {
				d.note("order %d: the leader died with the request; publishing it again", n)
			} else {
				d.note("order %d: not written (%v); publishing it again", n, err)
			}
		}
		if took := time.Since(began); took > pace {
			d.note("order %d: confirmed after %v", n, took.Round(time.Millisecond))
		}
		time.Sleep(pace)
	}
	d.note("published %d messages, all of them confirmed", messages)
	return nil
}

func (d *demo) consume(incoming <-chan *message.Message, all chan<- struct{}) {
	for msg := range incoming {
		d.counting.Lock()
		d.received[msg.UUID]++
		if len(d.received) == messages && d.received[msg.UUID] == 1 {
			close(all)
		}
		d.counting.Unlock()
		msg.Ack()
	}
}

// diary writes lines that begin with the time since the start.
type diary struct {
	began time.Time
	mu    sync.Mutex
	out   io.Writer
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "%5.2f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// OnConnected prints each connection. The client calls it.
func (d *diary) OnConnected(i esclient.ConnectionInfo) { d.note("connected to %s", i.Endpoint) }

// OnDisconnected prints the end of each connection.
func (d *diary) OnDisconnected(i esclient.ConnectionInfo) { d.note("disconnected: %v", i.Err) }

// OnReconnecting prints each attempt to connect again.
func (d *diary) OnReconnecting(i esclient.ConnectionInfo) {
	d.note("connecting again, attempt %d, in %v", i.Attempt, i.Delay.Round(time.Millisecond))
}
