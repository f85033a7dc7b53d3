package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// The short form of the soak test: see cluster_soak_test.go.
func TestNothingIsLostWhenTheLeaderIs(t *testing.T) {
	embeddedOnly(t)
	leaks := goleak.IgnoreCurrent()
	cluster, err := estest.StartCluster(3)
	require.NoError(t, err)
	l := load{
		url: cluster.ConnectionString(), publishers: 20, consumers: []int{1, 3, 4}, pace: 5 * time.Millisecond,
		disturbances: 4, every: 1200 * time.Millisecond, disturb: disturbEmbedded(t, cluster),
		recovery: patience, // the machine may be busy: the soak measures
	}
	l.run(t)
	require.NoError(t, cluster.Close())
	assert.NoError(t, goleak.Find(leaks))
}

// disturbEmbedded kills the leader, or cuts it off from the other nodes, in turn.
func disturbEmbedded(t testing.TB, c *estest.Cluster) func(n int) (undo func()) {
	return func(n int) (undo func()) {
		leader := c.Leader()
		if leader < 0 {
			return func() {}
		}
		if n%2 == 0 {
			assert.NoError(t, c.Kill(leader))
			return func() { assert.NoError(t, c.Restart(leader)) }
		}
		c.Partition(leader)
		return c.Heal
	}
}

// load is the load on a cluster, and how the cluster is disturbed.
type load struct {
	url        string
	publishers int           // each with a connection of its own, and one message at a time
	pace       time.Duration // between two messages of a publisher
	consumers  []int         // of each group, each with a connection of its own

	recovery     time.Duration // the median that is allowed, from an election on
	disturbances int
	every        time.Duration
	disturb      func(n int) (undo func())

	topic  string
	ledger *ledger
	open   atomic.Int64 // TCP connections
}

// run puts the load on the cluster until it was disturbed often enough and all groups have all published messages. Then
// it checks the ledger. When it returns, all its goroutines have ended.
func (l *load) run(t *testing.T) {
	l.topic, l.ledger = name("topic"), newLedger(l.publishers, l.consumers)
	consuming, stopConsuming := context.WithCancel(context.Background())
	defer stopConsuming()
	var consumers, publishers sync.WaitGroup
	for _, g := range l.ledger.groups {
		for range g.consumers {
			l.consume(consuming, t, &consumers, g)
		}
	}
	stop := make(chan struct{})
	for n := range l.publishers {
		publishers.Go(func() { l.publish(t, n, stop) })
	}
	require.Eventually(t, func() bool { return l.ledger.summary().confirmed > 0 }, patience, time.Millisecond)
	for n := range l.disturbances {
		l.disturbOnce(t, n)
	}
	close(stop)
	publishers.Wait()
	assert.Eventually(t, func() bool { return l.ledger.missing() == 0 }, 3*patience, 50*time.Millisecond)
	stopConsuming()
	consumers.Wait()

	v := l.ledger.summary()
	t.Log(v)
	assert.Positive(t, v.confirmed)
	assert.Zero(t, v.lost, "lost")
	assert.Zero(t, v.reordered, "reordered")
	assert.Zero(t, v.unasked, "duplicates without a reason")
	assert.Zero(t, v.phantoms, "consumed, but said not to be written")
	assert.GreaterOrEqual(t, v.elections, l.disturbances/2)
	assert.Less(t, v.p50, l.recovery, "median of the recoveries after an election")
	assert.Zero(t, l.open.Load(), "connections are left")
}

// client opens a client that counts its connections.
func (l *load) client(t testing.TB) *esclient.Client {
	cfg, err := esclient.ParseConnectionString(l.url)
	require.NoError(t, err)
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.open.Add(1)
		return &countedConn{Conn: nc, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
	}
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	return c
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// publish publishes messages until it is stopped. It repeats each until Publish returns nil.
func (l *load) publish(t testing.TB, publisher int, stop chan struct{}) {
	client := l.client(t)
	defer client.Close()
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		Client: client, UseMessageUUIDAsEventID: true, PublishTimeout: 10 * time.Second,
	}, nil)
	if !assert.NoError(t, err) {
		return
	}
	defer pub.Close()
	for n := 0; ; n++ {
		p := post{publisher, n}
		msg := newMessage(p.payload())
		for err := errors.New(""); err != nil; {
			if err = pub.Publish(l.topic, msg); err == nil {
				l.ledger.confirm(p)
			} else {
				l.ledger.fail(p, errors.Is(err, esclient.ErrOutcomeUnknown))
			}
			select {
			case <-stop:
				return
			case <-time.After(l.pace):
			}
		}
	}
}

// consume starts a consumer of a group.
func (l *load) consume(ctx context.Context, t testing.TB, wg *sync.WaitGroup, g *groupLedger) {
	client := l.client(t)
	settings := eventstore.DefaultGroupSettings()
	settings.CheckpointMaxCount = 100 // so that fewer messages come again
	sub, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, ConsumerGroup: g.name, GroupSettings: &settings, InFlight: 50,
	}, nil)
	require.NoError(t, err)
	messages, err := sub.Subscribe(ctx, l.topic)
	require.NoError(t, err)
	wg.Go(func() {
		defer client.Close()
		defer sub.Close()
		for msg := range messages {
			p, err := parsePost(msg.Payload)
			assert.NoError(t, err)
			number, _ := eventstore.EventNumberFromCtx(msg.Context())
			l.ledger.consume(g, p, number)
			msg.Ack()
		}
		assert.Error(t, ctx.Err(), "a subscription of %s has ended by itself", g.name)
	})
}

// disturbOnce disturbs the cluster, waits for an election and for a while longer, and ends the disturbance.
func (l *load) disturbOnce(t testing.TB, n int) {
	began := time.Now()
	before := l.epoch(t)
	undo := l.disturb(n)
	for time.Since(began) < patience && l.epoch(t) <= before {
		time.Sleep(5 * time.Millisecond)
	}
	if l.epoch(t) > before {
		l.ledger.elected()
	}
	time.Sleep(time.Until(began.Add(l.every / 2)))
	undo()
	time.Sleep(time.Until(began.Add(l.every)))
}

func (l *load) epoch(t testing.TB) int {
	epoch, _ := l.leader(t)
	return epoch
}

// leader returns the HTTP endpoint and the epoch of the leader. If several nodes claim to lead, the latest epoch
// counts.
func (l *load) leader(t testing.TB) (epoch int, endpoint string) {
	cfg, err := esclient.ParseConnectionString(l.url)
	require.NoError(t, err)
	require.NotNil(t, cfg.Gossip, "the connection string does not lead to a cluster")
	scheme, transport := "http://", &http.Transport{DisableKeepAlives: true}
	if cfg.Gossip.TLS != nil {
		scheme, transport.TLSClientConfig = "https://", cfg.Gossip.TLS
	}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	for _, seed := range cfg.Gossip.Seeds {
		res, err := client.Get(scheme + seed.WithDefaultPort(2113).String() + "/gossip")
		if err != nil {
			continue // it is dead, as intended
		}
		var gossip struct{ Members []gossipMember }
		err = json.NewDecoder(res.Body).Decode(&gossip)
		res.Body.Close()
		for _, m := range gossip.Members {
			if err == nil && m.IsAlive && (m.State == "Master" || m.State == "Leader") && m.EpochNumber > epoch {
				epoch, endpoint = m.EpochNumber, m.endpoint()
			}
		}
	}
	return epoch, endpoint
}

// gossipMember is a node in the gossip of any version.
type gossipMember struct {
	State            string
	IsAlive          bool
	EpochNumber      int
	ExternalHTTPIP   string `json:"externalHttpIp"` // up to 5.0
	ExternalHTTPPort int    `json:"externalHttpPort"`
	HTTPEndPointIP   string `json:"httpEndPointIp"` // from 20.6 on
	HTTPEndPointPort int    `json:"httpEndPointPort"`
}

func (m *gossipMember) endpoint() string {
	if m.HTTPEndPointIP != "" {
		return net.JoinHostPort(m.HTTPEndPointIP, strconv.Itoa(m.HTTPEndPointPort))
	}
	return net.JoinHostPort(m.ExternalHTTPIP, strconv.Itoa(m.ExternalHTTPPort))
}

// The node of a fan-out subscriber is cut off from its cluster while the subscriber's connection lives.
func TestFanOutLeavesANodeThatItsClusterHasLost(t *testing.T) {
	embeddedOnly(t)
	cluster := estest.RunCluster(t, 3)
	url := cluster.ConnectionString()
	client, err := esclient.Open(url + "; NodeCheckInterval=50")
	require.NoError(t, err)
	defer client.Close()
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: client})
	messages := subscribe(t, sub, "topic")
	cluster.Partition(0)
	require.Eventually(t, func() bool { return cluster.Leader() > 0 }, patience, time.Millisecond)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url})
	require.NoError(t, pub.Publish("topic", newMessage("1")))
	msg := receive(t, messages)
	assert.Equal(t, "1", string(msg.Payload))
	msg.Ack()
}
