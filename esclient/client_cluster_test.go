package esclient_test

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// never is longer than any test.
const never = time.Hour

// runCluster starts an embedded cluster of three, for tests that need control of it.
func runCluster(t testing.TB, opts ...estest.Option) *estest.Cluster {
	t.Helper()
	undertest.EmbeddedOnly(t)
	return undertest.RunCluster(t, 3, opts...)
}

// route notes the nodes to which a client is connected, one after the other.
type route struct {
	mu    sync.Mutex
	nodes []string
}

func (r *route) OnConnected(i esclient.ConnectionInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes = append(r.nodes, i.Endpoint)
}

func (r *route) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.nodes...)
}

// ends waits until the client is connected to the last of the nodes, after the others: hooks may be called later than a
// call returns.
func (r *route) ends(t testing.TB, nodes ...string) {
	t.Helper()
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		all := r.all()
		assert.Equal(c, nodes, all[max(0, len(all)-len(nodes)):])
	}, patience, time.Millisecond)
}

// is waits until these are all the nodes that the client was ever connected to.
func (r *route) is(t testing.TB, nodes ...string) {
	t.Helper()
	r.ends(t, nodes...)
	assert.Len(t, r.all(), len(nodes))
}

// openClient opens a client whose configuration differs from that of its connection string.
func openClient(t testing.TB, url string, change func(*esclient.Config)) (*esclient.Client, *route) {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	r := &route{}
	cfg.ReconnectDelay = 10 * time.Millisecond
	cfg.Hooks = append(cfg.Hooks, r)
	if change != nil {
		change(&cfg)
	}
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, r
}

// appendNew appends an event to a new stream and returns its name. With that version the append is repeated wherever
// that is needed.
func appendNew(t testing.TB, c *esclient.Client) string {
	t.Helper()
	stream := name("s")
	_, err := c.Append(testContext(t), stream, esclient.NoStream, numbered(0, 0)...)
	require.NoError(t, err)
	return stream
}

func countEvents(t testing.TB, c *esclient.Client, stream string) (n int) {
	t.Helper()
	for _, err := range c.ReadStream(testContext(t), stream, esclient.ReadOptions{}) {
		require.NoError(t, err)
		n++
	}
	return n
}

func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(p)
	return n
}

func TestRedirectToTheLeader(t *testing.T) {
	c := runCluster(t)
	for _, form := range []struct {
		name   string
		change func(*estest.LeaderInfo)
		leader string // as the client knows it then
	}{
		{"plain", nil, c.Node(0).Addr()},
		{"DNS name", func(i *estest.LeaderInfo) { i.Address = "localhost" },
			"localhost:" + strconv.Itoa(port(c.Node(0).Addr()))},
	} {
		c.SetLeaderInfo(form.change)
		client, route := openClient(t, c.Node(1).ConnectionString(), nil)
		appendNew(t, client)
		route.is(t, c.Node(1).Addr(), form.leader)
	}
}

// If a follower does not give the address of the leader, the client finds it by gossip.
func TestRedirectWithoutAUsableEndpoint(t *testing.T) {
	c := runCluster(t)
	for name, change := range map[string]func(*estest.LeaderInfo){
		"nothing":     func(i *estest.LeaderInfo) { *i = estest.LeaderInfo{} },
		"no port":     func(i *estest.LeaderInfo) { i.Port = 0 },
		"absurd port": func(i *estest.LeaderInfo) { i.Port = 1 << 20 },
		"absurd name": func(i *estest.LeaderInfo) { i.Address = "no name/at all" },
		"secure only": func(i *estest.LeaderInfo) {
			i.SecureAddress, i.SecurePort, i.Address, i.Port = i.Address, i.Port, "", 0
		},
	} {
		called := gossipCallsLeader(c, 1) // until the client has been there
		c.SetLeaderInfo(func(i *estest.LeaderInfo) {
			change(i)
			called.Store(0)
		})
		client, route := openClient(t, c.ConnectionString(), nil)
		appendNew(t, client)
		route.ends(t, c.Node(0).Addr())
		assert.Equal(t, c.Node(1).Addr(), route.all()[0], name)
	}
}

// A follower names a node outside the cluster. That node gets no credentials, and gossip finds the leader.
func TestRedirectOutOfTheClusterIsNotFollowed(t *testing.T) {
	c := runCluster(t)
	stranger := newGate(t, c.Node(0).Addr())
	called := gossipCallsLeader(c, 1)
	c.SetLeaderInfo(func(i *estest.LeaderInfo) {
		i.Port = port(stranger.l.Addr())
		called.Store(0)
	})
	client, route := openClient(t, c.ConnectionString(), nil)
	appendNew(t, client)
	route.is(t, c.Node(1).Addr(), c.Node(0).Addr())
	assert.Zero(t, stranger.l.Taken())
}

// gossipCallsLeader has all nodes call one of them the leader, which can be changed to another.
func gossipCallsLeader(c *estest.Cluster, node int32) *atomic.Int32 {
	called := &atomic.Int32{}
	called.Store(node)
	for i := range c.Size() {
		c.SetGossip(i, func(members []estest.Member) []estest.Member {
			for j := range members {
				members[j].Role = estest.RoleFollower
			}
			members[called.Load()].Role = estest.RoleLeader
			return members
		})
	}
	return called
}

func TestRedirectToASecureEndpoint(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		c := runCluster(t, estest.WithPersona(persona), estest.WithTLS())
		trust := &tls.Config{RootCAs: c.Node(0).CertPool(), MinVersion: tls.VersionTLS12}
		client, route := openClient(t, c.Node(1).ConnectionString(), func(cfg *esclient.Config) { cfg.TLS = trust })
		appendNew(t, client)
		route.is(t, c.Node(1).Addr(), c.Node(0).Addr())

		client, route = openClient(t, c.ConnectionString(), func(cfg *esclient.Config) {
			cfg.TLS, cfg.Gossip.TLS = trust, trust
		})
		appendNew(t, client)
		route.is(t, c.Node(0).Addr())
	}
}

// All that is under way to a follower is answered there, and then done by the leader: nothing is left unknown.
func TestCallsUnderWayMoveToTheLeader(t *testing.T) {
	c := runCluster(t)
	for range 20 {
		client, _ := openClient(t, c.Node(2).ConnectionString(), nil)
		require.NoError(t, client.Connect(testContext(t)))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := client.Append(testContext(t), name("s"), esclient.Any, numbered(0, 0)...)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
	}
}

func TestFollowerPreference(t *testing.T) {
	c := runCluster(t)
	client, route := openClient(t, c.ConnectionString()+"; NodePreference=follower; RequireLeader=false", nil)
	stream := appendNew(t, client)
	assert.Equal(t, 1, countEvents(t, client, stream))
	assert.NotContains(t, route.all(), c.Node(0).Addr(), "followers read, and forward writes")
	live, err := client.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	defer live.Stop()
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	require.NoError(t, client.CreatePersistent(testContext(t), stream, "g", settings))
	route.ends(t, c.Node(0).Addr()) // groups are the leader's
	p, err := client.ConnectPersistent(testContext(t), stream, "g", esclient.PersistentOptions{})
	require.NoError(t, err)
	appendNumbered(t, client, stream, 1, 1)
	for n := range int64(2) {
		e, err := p.Next(testContext(t))
		require.NoError(t, err)
		require.NoError(t, p.Ack(e))
		e, err = live.Next(testContext(t))
		require.NoError(t, err, "the subscription has moved with the connection")
		assert.Equal(t, n, e.Number)
	}

	require.NoError(t, c.Elect(1))
	appendNumbered(t, client, stream, 1, 1)
	e, err := p.Next(testContext(t))
	for err == nil && e.Number < 2 { // not acked in time for a checkpoint
		require.NoError(t, p.Ack(e))
		e, err = p.Next(testContext(t))
	}
	require.NoError(t, err)
	route.ends(t, c.Node(1).Addr()) // the group has moved, and the subscription after it
}

// refusing counts the attempts to connect to an address, all of which it refuses.
type refusing struct {
	addr  string
	count atomic.Int32
}

func (r *refusing) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == r.addr {
		r.count.Add(1)
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Gossip and the followers name a leader that refuses connections.
func TestNoStormOnALeaderThatRefusesTCP(t *testing.T) {
	t.Parallel()
	c := runCluster(t)
	refusing := &refusing{addr: c.Node(0).Addr()}
	client, _ := openClient(t, c.ConnectionString(), func(cfg *esclient.Config) {
		cfg.Dial = refusing.dial
		// A fifth of the defaults.
		cfg.ReconnectDelay = esclient.DefaultReconnectDelay / 5
		cfg.MaxReconnectDelay = esclient.DefaultMaxReconnectDelay / 5
		cfg.Gossip.HoldOff, cfg.Gossip.MaxHoldOff = discovery.DefaultHoldOff/5, discovery.DefaultMaxHoldOff/5
	})
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := client.Append(ctx, name("s"), esclient.Any, numbered(0, 0)...)
				assert.Error(t, err)
			}
		})
	}
	wg.Wait()
	assert.Positive(t, refusing.count.Load())
	assert.LessOrEqual(t, refusing.count.Load(), int32(10), "in the first second")
	require.NoError(t, c.Elect(1))
	appendNew(t, client)
}

// Nodes that name each other are not asked in turn without a pause.
func TestNoStormOnNodesThatNameEachOther(t *testing.T) {
	t.Parallel()
	c := runCluster(t)
	var refusals atomic.Int32
	c.SetLeaderInfo(func(i *estest.LeaderInfo) {
		other := c.Node(1 + int(refusals.Add(1))%2)
		i.Port = port(other.Addr())
	})
	client, route := openClient(t, c.Node(1).ConnectionString(), func(cfg *esclient.Config) { cfg.ReconnectDelay = 0 })
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	_, err := client.Append(ctx, name("s"), esclient.Any, numbered(0, 0)...)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.LessOrEqual(t, len(route.all()), 8)
}

func TestVanishedSeeds(t *testing.T) {
	c := runCluster(t, estest.WithElectionDelay(10*time.Millisecond))
	refusing := wiretest.Refusing(t)
	seeds := "GossipSeeds=" + refusing + "," + c.Node(0).HTTPAddr() + "; DefaultUserCredentials=admin:changeit"
	client, route := openClient(t, seeds, nil)
	appendNew(t, client)
	require.NoError(t, c.Kill(0)) // the last seed: the client has learned of the others
	appendNew(t, client)
	route.ends(t, c.Node(c.Leader()).Addr())
}

func TestGossipThatLagsBehindAnElection(t *testing.T) {
	c := runCluster(t, estest.WithElectionDelay(10*time.Millisecond))
	client, route := openClient(t, c.ConnectionString(), nil)
	appendNew(t, client)
	old := c.Members(1)
	c.SetGossip(1, func([]estest.Member) []estest.Member { return old })
	c.SetGossip(2, func([]estest.Member) []estest.Member { return old })
	require.NoError(t, c.Kill(0)) // and yet all who live list it as the leader that lives
	appendNew(t, client)
	route.ends(t, c.Node(c.Leader()).Addr())
}

func TestALeaderThatLostItsClusterIsLeft(t *testing.T) {
	t.Parallel()
	c := runCluster(t, estest.WithElectionDelay(10*time.Millisecond), estest.WithStepDownDelay(100*time.Millisecond))
	client, route := openClient(t, c.ConnectionString(), nil)
	appendNew(t, client)
	route.is(t, c.Node(0).Addr())
	c.Partition(0) // it lives, and so does the connection
	stream := appendNew(t, client)
	route.ends(t, c.Node(c.Leader()).Addr())
	c.Heal()
	assert.Equal(t, 1, countEvents(t, client, stream))
}

func TestTwoNodesThatBothCallThemselvesLeader(t *testing.T) {
	c := runCluster(t, estest.WithElectionDelay(10*time.Millisecond), estest.WithStepDownDelay(never))
	c.Partition(0)
	require.Eventually(t, func() bool { return c.Leader() > 0 }, patience, time.Millisecond)
	client, route := openClient(t, c.ConnectionString(), nil)
	appendNew(t, client)
	route.is(t, c.Node(c.Leader()).Addr()) // that of the later epoch
}

func TestClusterOverIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	} else {
		l.Close()
	}
	c := runCluster(t, estest.WithTCPAddr("[::1]:0"), estest.WithHTTPAddr("[::1]:0"))
	client, route := openClient(t, c.Node(1).ConnectionString(), nil)
	appendNew(t, client)
	route.is(t, c.Node(1).Addr(), c.Node(0).Addr())
	client, route = openClient(t, "discover://admin:changeit@"+c.Node(1).HTTPAddr(), nil)
	appendNew(t, client)
	route.is(t, c.Node(0).Addr())
}

// The nodes know each other by addresses of a network that the client is not in.
func TestEndpointMapping(t *testing.T) {
	c := runCluster(t)
	inside := func(addr string) string { return strings.Replace(addr, "127.0.0.1", "10.255.255.1", 1) }
	for i := range c.Size() {
		c.SetGossip(i, func(members []estest.Member) []estest.Member {
			for j := range members {
				members[j].TCPAddr, members[j].HTTPAddr = inside(members[j].TCPAddr), inside(members[j].HTTPAddr)
			}
			return members
		})
	}
	c.SetLeaderInfo(func(i *estest.LeaderInfo) { i.Address = "10.255.255.1" })
	client, route := openClient(t, c.ConnectionString()+"; NodePreference=follower", func(cfg *esclient.Config) {
		cfg.Gossip.Map = func(advertised discovery.Endpoint) discovery.Endpoint {
			advertised.Host = "127.0.0.1"
			return advertised
		}
	})
	appendNew(t, client)
	route.ends(t, c.Node(0).Addr())
	assert.Len(t, route.all(), 2, "a follower by gossip, and the leader by its word")
}
