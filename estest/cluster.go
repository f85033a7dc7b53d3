package estest

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// clusterConfig has the options for clusters only.
type clusterConfig struct {
	electionDelay time.Duration
	stepDownDelay time.Duration
}

// WithElectionDelay sets the time that a cluster without a leader takes to elect one, 200 ms by default. A single
// server ignores it.
func WithElectionDelay(d time.Duration) Option {
	return func(c *config) { c.cluster.electionDelay = d }
}

// WithStepDownDelay sets how long a leader without a majority goes on as leader, 500 ms by default. Meanwhile it takes
// writes but does not acknowledge them. A single server ignores it.
func WithStepDownDelay(d time.Duration) Option {
	return func(c *config) { c.cluster.stepDownDelay = d }
}

// Cluster is several servers with one log. Only the leader writes. It replicates every write at once to all nodes that
// it reaches, and acknowledges it when a majority has it. A leader that does not reach a majority holds writes back:
// clients get CommitTimeout after two seconds. If the leader reaches a majority again before another leader is elected,
// these writes take place; otherwise they are lost.
//
// Nodes are numbered from 0. The methods are safe for concurrent use, and panic for a number without a node.
type Cluster struct {
	nodes []*node

	mu        *sync.Mutex // guards everything below and all nodes; the cores' lock
	delays    clusterConfig
	projected signal
	begun     bool      // a node has led
	electAt   time.Time // when the majority elects a leader; zero while it has one, or there is no majority
	info      func(*LeaderInfo)

	alarms *alarms
	alarm  *alarm // for the next step that is due
}

// RunCluster starts a cluster and closes it when the test ends. It fails the test if the cluster does not start.
func RunCluster(t testing.TB, nodes int, opts ...Option) *Cluster {
	t.Helper()
	c, err := StartCluster(nodes, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// StartCluster starts a cluster with the given number of nodes; close it with [Cluster.Close]. Node 0 is the first
// leader. The options are those of [Start] and apply to every node. If an address has a port other than 0, node i uses
// that port + i.
func StartCluster(nodes int, opts ...Option) (*Cluster, error) {
	if nodes < 1 {
		return nil, fmt.Errorf("estest: %d nodes are no cluster", nodes)
	}
	c := &Cluster{mu: new(sync.Mutex)}
	for i := range nodes {
		s, err := newServer(opts)
		if err != nil {
			return nil, err
		}
		if err := s.cfg.fitsCluster(i); err != nil {
			return nil, err
		}
		c.add(i, s)
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if err := n.srv.start(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, c.Elect(0)
}

// fitsCluster reports options that no node of a cluster can have, and makes the others those of one node.
func (c *config) fitsCluster(node int) (err error) {
	if c.tcpAddr, err = nodeAddr(c.tcpAddr, node); err != nil {
		return err
	}
	if c.httpAddr, err = nodeAddr(c.httpAddr, node); err != nil {
		return err
	}
	d := &c.cluster
	if d.electionDelay < 0 || d.stepDownDelay < 0 {
		return errors.New("estest: election and step-down delay must not be negative")
	}
	if d.electionDelay == 0 {
		d.electionDelay = 200 * time.Millisecond
	}
	if d.stepDownDelay == 0 {
		d.stepDownDelay = 500 * time.Millisecond
	}
	return nil
}

// nodeAddr returns the address of a node if node 0 has the address base.
func nodeAddr(base string, node int) (string, error) {
	host, text, err := net.SplitHostPort(base)
	if err != nil {
		return "", fmt.Errorf("estest: the address %q of the nodes is not host:port: %w", base, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", fmt.Errorf("estest: the address %q of the nodes has no port that is a number: %w", base, err)
	}
	if port != 0 {
		port += uint64(node)
	}
	if port > math.MaxUint16 {
		return "", fmt.Errorf("estest: the address %q leaves no port for node %d", base, node)
	}
	return net.JoinHostPort(host, strconv.FormatUint(port, 10)), nil
}

func (c *Cluster) add(i int, s *Server) {
	n := &node{cluster: c, index: i, srv: s, core: s.core, known: make(map[int]Member)}
	s.node, s.core.node, s.core.mu, s.core.projected = n, n, c.mu, &c.projected
	c.delays = s.cfg.cluster
	c.nodes = append(c.nodes, n)
}

// begin gives all nodes the same log. Nothing else runs yet.
func (c *Cluster) begin() error {
	first := c.nodes[0]
	c.alarms = newAlarms(first.core.clock)
	if err := first.core.begin(&first.srv.cfg); err != nil {
		return err
	}
	first.core.groups.Clear() // until it leads
	for _, n := range c.nodes[1:] {
		n.core.log.Share(first.core.log)
		n.core.log.CatchUp(first.core.log)
	}
	return nil
}

// Close stops all nodes and releases all resources. A second call does nothing.
func (c *Cluster) Close() error {
	c.alarms.stop()
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.srv.Close())
	}
	return errors.Join(errs...)
}

// Size returns the number of nodes.
func (c *Cluster) Size() int { return len(c.nodes) }

// Node returns the server of a node, for its addresses and for everything that works on a single server. Closing this
// server kills the node.
func (c *Cluster) Node(i int) *Server { return c.nodes[i].srv }

// ConnectionString returns a connection string for the administrator that finds the cluster by gossip.
func (c *Cluster) ConnectionString() string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.srv.HTTPAddr()
	}
	cfg := &c.nodes[0].srv.cfg
	password, _ := cfg.administrator().Password()
	s := "GossipSeeds=" + strings.Join(addrs, ",") + "; DefaultUserCredentials=admin:" + password
	if cfg.tls {
		s += "; TLS=true"
	}
	return s
}

// Leader returns the number of the node that leads the majority; -1 if there is none at the moment.
func (c *Cluster) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.leader(); l != nil {
		return l.index
	}
	return -1
}

// Kill ends the process of a node at once: it cuts the connections, and if the node was the leader, the others elect a
// new one. It does nothing if the node is down.
func (c *Cluster) Kill(i int) error { return c.nodes[i].srv.Close() }

// Stop ends the process of a node gracefully, see [Server.Stop]: the node drops all subscriptions before it cuts the
// connections. It does nothing if the node is down.
func (c *Cluster) Stop(i int) error { return c.nodes[i].srv.Stop() }

// Restart starts the process of a node again, with the same ports and data. It first stops a node that runs. The node
// follows the leader as soon as it reaches one.
func (c *Cluster) Restart(i int) error {
	s := c.nodes[i].srv
	s.life.Lock()
	defer s.life.Unlock()
	if err := s.shutdown(true); err != nil {
		return err
	}
	return s.listen()
}

// Elect makes a node the leader at once, as when the leader resigns. The old leader stays as a follower: it drops the
// subscriptions to its groups, and acks that still arrive there are lost. Volatile subscriptions stay. Elect returns an
// error if the node does not reach a majority.
func (c *Cluster) Elect(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[i]
	if n.up && n.role == RoleLeader && n.quorum {
		return nil
	}
	side := n.side()
	if !c.isMajority(side) {
		return fmt.Errorf("estest: node %d does not reach a majority", i)
	}
	n.core.log.CatchUp(newest(side).core.log)
	n.lead()
	c.settle()
	return nil
}

// Partition cuts the network between the given nodes and all other nodes. The given nodes still reach each other, and
// clients still reach every node. Partitions add up until [Cluster.Heal].
func (c *Cluster) Partition(nodes ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range c.nodes {
		inside := false
		for _, p := range nodes {
			inside = inside || p == i
		}
		n.network = append(n.network, inside)
	}
	c.settle()
}

// Heal ends all partitions. A node with records that the leader does not have drops these records and restarts, as a
// real node does.
func (c *Cluster) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		n.network = nil
	}
	c.settle()
}

// SetLeaderInfo changes the address of the leader that nodes send when they refuse a request as NotLeader. The cluster
// holds its lock during the call, so change must not call the cluster. A nil function restores the truth.
func (c *Cluster) SetLeaderInfo(change func(info *LeaderInfo)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info = change
}
