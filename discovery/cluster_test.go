package discovery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// network is a network in memory. With it a whole cluster runs under the clock of testing/synctest.
type network struct {
	mu     sync.Mutex
	hosts  map[string]*host
	silent map[string]bool // hosts that drop all packets
	open   int             // dials and connections at the moment
	most   int
}

type host struct {
	conns  chan net.Conn
	closed chan struct{}
	addr   string
}

func newNetwork() *network {
	return &network{hosts: make(map[string]*host), silent: make(map[string]bool)}
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	h, silent := n.hosts[address], n.silent[address]
	n.open++
	n.most = max(n.most, n.open)
	n.mu.Unlock()
	closed := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open--
	}
	if silent {
		<-ctx.Done()
		closed()
		return nil, ctx.Err()
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if h == nil {
		closed()
		return nil, refused
	}
	client, server := net.Pipe()
	select {
	case h.conns <- server:
		return &countedConn{Conn: client, closed: sync.OnceFunc(closed)}, nil
	case <-h.closed:
		closed()
		return nil, refused
	}
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *host) Close() error { return nil }

func (h *host) Addr() net.Addr { return &net.UnixAddr{Name: h.addr} }

// serve starts an HTTP server at the address; the function stops it.
func (n *network) serve(t *testing.T, address string, handler http.Handler) func() {
	t.Helper()
	h := &host{conns: make(chan net.Conn), closed: make(chan struct{}), addr: address}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(h)
	}()
	n.mu.Lock()
	n.hosts[address] = h
	n.mu.Unlock()
	stop := sync.OnceFunc(func() {
		n.mu.Lock()
		if n.hosts[address] == h {
			delete(n.hosts, address)
		}
		n.mu.Unlock()
		close(h.closed)
		_ = server.Close()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

func (n *network) drop(address string, silent bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent[address] = silent
}

// member describes a node in the gossip of the tests. Zero values stand for the usual ones.
type member struct {
	ip       string
	state    string
	dead     bool
	epoch    int
	time     int // seconds
	instance string
	tcp      int // 0 is 1113, -1 none
	secure   int
	replica  bool
	wildcard bool // the TCP address is 0.0.0.0
}

// form is the shape of the JSON.
type form int

const (
	form5  form = 5  // up to version 5
	form20 form = 20 // from version 20 on
)

func (f form) member(m member) map[string]any {
	port := func(given, usual int) int {
		if given == 0 {
			return usual
		}
		return max(given, 0)
	}
	if m.instance == "" {
		m.instance = "6f1cbf9e-0c4f-4a9c-93b5-" + fmt.Sprintf("%012x", []byte(m.ip)[:min(6, len(m.ip))])
	}
	tcpIP := m.ip
	if m.wildcard {
		tcpIP = "0.0.0.0"
	}
	written := time.Date(2026, 1, 2, 3, 4, m.time, 123456700, time.UTC)
	doc := map[string]any{
		"instanceId":            m.instance,
		"timeStamp":             written.Format("2006-01-02T15:04:05.0000000Z"),
		"state":                 m.state,
		"isAlive":               !m.dead,
		"internalTcpIp":         m.ip,
		"internalTcpPort":       1112,
		"internalSecureTcpPort": 0,
		"externalTcpIp":         tcpIP,
		"externalTcpPort":       port(m.tcp, 1113),
		"externalSecureTcpPort": port(m.secure, 0),
		"lastCommitPosition":    1073741824,
		"writerCheckpoint":      1073741999,
		"chaserCheckpoint":      1073741999,
		"epochPosition":         4242,
		"epochNumber":           m.epoch,
		"epochId":               "5a0c1f0e-7a55-4a0b-8b26-3d0f5f3c9f11",
		"nodePriority":          3,
	}
	if f == form5 {
		doc["internalHttpIp"], doc["internalHttpPort"] = m.ip, 2112
		doc["externalHttpIp"], doc["externalHttpPort"] = m.ip, 2113
		return doc
	}
	doc["httpEndPointIp"], doc["httpEndPointPort"] = m.ip, 2113
	doc["isReadOnlyReplica"] = m.replica
	doc["advertiseHostToClientAs"] = nil
	doc["esVersion"] = "23.10.0.0"
	return doc
}

func (f form) gossip(self string, members ...member) string {
	list := make([]any, len(members))
	for i, m := range members {
		list[i] = f.member(m)
	}
	doc, err := json.Marshal(map[string]any{"members": list, "serverIp": self, "serverPort": 2113})
	if err != nil {
		panic(err)
	}
	return string(doc)
}

// cluster is a cluster whose gossip the test sets.
type cluster struct {
	t    *testing.T
	net  *network
	form form

	mu    sync.Mutex
	says  map[string][]member // by node; a node without an entry says what all says
	all   []member
	wait  map[string]time.Duration
	asked map[string]int
	stop  map[string]func()
}

func newCluster(t *testing.T, f form, members ...member) *cluster {
	t.Helper()
	c := &cluster{
		t: t, net: newNetwork(), form: f, all: members, says: make(map[string][]member),
		wait: make(map[string]time.Duration), asked: make(map[string]int), stop: make(map[string]func()),
	}
	for _, m := range members {
		c.start(m.ip)
	}
	return c
}

func httpAddr(ip string) string { return discovery.Endpoint{Host: ip, Port: 2113}.String() }

func (c *cluster) start(ip string) {
	c.stop[ip] = c.net.serve(c.t, httpAddr(ip), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(c.t, "GET /gossip?format=json", r.Method+" "+r.URL.String())
		assert.Equal(c.t, "application/json", r.Header.Get("Accept"))
		c.mu.Lock()
		members, told := c.says[ip]
		if !told {
			members = slices.Clone(c.all)
		}
		wait := c.wait[ip]
		c.asked[ip]++
		c.mu.Unlock()
		// Not for zero: if timers of a synctest bubble are due in several goroutines at once, the race detector of Go
		// 1.26 crashes.
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(c.form.gossip(ip, members...)))
	}))
}

func (c *cluster) set(change func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// gossip returns a Discoverer that dials in the cluster's network. Without seeds it has those of all members.
func (c *cluster) gossip(cfg discovery.GossipConfig) *discovery.Gossip {
	c.t.Helper()
	if cfg.Seeds == nil {
		for _, m := range c.all {
			cfg.Seeds = append(cfg.Seeds, discovery.Endpoint{Host: m.ip})
		}
	}
	cfg.Dial = c.net.dial
	g, err := discovery.NewGossip(cfg)
	require.NoError(c.t, err)
	return g
}

// find makes an attempt that must succeed.
func find(t *testing.T, d discovery.Discoverer) discovery.Target {
	t.Helper()
	target, err := d.Next(t.Context())
	require.NoError(t, err)
	return target
}

// three is a healthy cluster.
func three() []member {
	return []member{
		{ip: "10.0.0.1", state: "Follower", epoch: 1},
		{ip: "10.0.0.2", state: "Leader", epoch: 1},
		{ip: "10.0.0.3", state: "Follower", epoch: 1},
	}
}
