package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

func TestGossipSeedsMayVanish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form5, three()...)
		g := c.gossip(discovery.GossipConfig{Seeds: eps("10.0.0.1", "10.0.0.99")})
		assert.True(t, find(t, g).Leader(), "one seed never was there")
		c.stop["10.0.0.1"]()
		assert.True(t, find(t, g).Leader(), "the other one has gone; its fellows are asked")

		for _, ip := range []string{"10.0.0.2", "10.0.0.3"} {
			c.stop[ip]()
		}
		for range 20 {
			_, err := g.Next(t.Context())
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
		c.start("10.0.0.3")
		assert.Equal(t, "10.0.0.3:1113", find(t, g).Endpoint.String(), "failures do not make it forget")
	})
}

func TestGossipForgetsWhoIsNoLongerMentioned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, three()...)
		c.wait["10.0.0.2"] = time.Millisecond // so that all others are asked before an attempt ends
		g := c.gossip(discovery.GossipConfig{Seeds: eps("10.0.0.2")})
		find(t, g)
		c.set(func(c *cluster) { c.all = c.all[1:2] }) // the others have left the cluster
		for range 30 {
			find(t, g)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		assert.Equal(t, 10, c.asked["10.0.0.1"], "asked for a while")
		assert.Equal(t, 31, c.asked["10.0.0.2"])
	})
}

// A node that gossips alive but refuses TCP causes no storm of requests, however often the caller asks.
func TestGossipNoConnectionStorm(t *testing.T) {
	t.Parallel()
	for name, members := range map[string][]member{
		"cluster":     three(),
		"single node": {{ip: "10.0.0.2", state: "Leader"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, form20, members...)
				g := c.gossip(discovery.GossipConfig{})
				dials, others := 0, 0
				for start := time.Now(); time.Since(start) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
					target, err := g.Next(t.Context())
					var none *discovery.Error
					switch {
					case errors.As(err, &none):
						assert.Positive(t, none.RetryAfter)
						assert.LessOrEqual(t, none.RetryAfter, discovery.DefaultMaxHoldOff)
						var held *discovery.HeldOffError
						require.ErrorAs(t, err, &held)
						assert.Equal(t, dials, held.Failures)
						assert.Equal(t, none.RetryAfter, held.For)
						assert.ErrorIs(t, err, errRefused, "why it is held off")
					case target.Leader():
						dials++
						g.Report(target.Endpoint, errRefused)
					default:
						others++
						g.Report(target.Endpoint, nil)
					}
				}
				assert.Equal(t, 5, dials, "at 0, 0.25, 0.75, 1.75 and 3.75 s")
				assert.Equal(t, len(members) > 1, others > 400, "who else is there gets its turn")
			})
		})
	}
}

func TestGossipHoldOffEnds(t *testing.T) {
	t.Parallel()
	leader := ep("10.0.0.1:1113")
	tests := []struct {
		name string
		do   func(*cluster, *discovery.Gossip)
		free bool
	}{
		{"not by itself at once", func(*cluster, *discovery.Gossip) {}, false},
		{"with time", func(*cluster, *discovery.Gossip) { time.Sleep(discovery.DefaultHoldOff) }, true},
		{"with a connection", func(_ *cluster, g *discovery.Gossip) { g.Report(leader, nil) }, true},
		{"with a restart of the node", func(c *cluster, _ *discovery.Gossip) {
			c.set(func(c *cluster) { c.all[0].instance = "another" })
		}, true},
		{"not with an election", func(c *cluster, _ *discovery.Gossip) {
			c.set(func(c *cluster) { c.all[0].epoch++ })
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, form20, member{ip: "10.0.0.1", state: "Leader", epoch: 3})
				g := c.gossip(discovery.GossipConfig{})
				require.Equal(t, leader, find(t, g).Endpoint)
				g.Report(leader, context.Canceled)
				require.Equal(t, leader, find(t, g).Endpoint, "that the caller gave up says nothing about the node")
				g.Report(leader, fmt.Errorf("handshake: %w", context.DeadlineExceeded))
				tt.do(c, g)
				_, err := g.Next(t.Context())
				assert.Equal(t, tt.free, err == nil, "%v", err)
			})
		})
	}
}

func TestGossipHoldOffIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, member{ip: "10.0.0.1", state: "Leader"})
		g := c.gossip(discovery.GossipConfig{HoldOff: time.Second, MaxHoldOff: 3 * time.Second})
		failures := func(wait time.Duration) (n int) {
			g.Report(ep("10.0.0.1:1113"), errRefused)
			_, err := g.Next(t.Context())
			var held *discovery.HeldOffError
			require.ErrorAs(t, err, &held)
			assert.Equal(t, wait, held.For)
			time.Sleep(held.For)
			return held.Failures
		}
		assert.Equal(t, 1, failures(time.Second))
		assert.Equal(t, 2, failures(2*time.Second))
		assert.Equal(t, 3, failures(3*time.Second), "not above the maximum")
		assert.Equal(t, 4, failures(3*time.Second))
		time.Sleep(10 * time.Second)
		assert.Equal(t, 1, failures(time.Second), "an old story")
	})
}

// The leader died, and the gossip of the others lags behind.
func TestGossipDeadLeaderStillListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, three()...)
		fresh := c.gossip(discovery.GossipConfig{Seeds: eps("10.0.0.1")})
		g := c.gossip(discovery.GossipConfig{Seeds: eps("10.0.0.1")})
		for range 2 { // from the seed it learns of the leader, and then it has asked it
			assert.True(t, find(t, g).Leader())
		}
		c.stop["10.0.0.2"]()

		target := find(t, g)
		assert.Equal(t, discovery.StateFollower, target.State, "it used to answer, and refuses now")

		c.net.drop("10.0.0.2:2113", true)
		start := time.Now()
		assert.Equal(t, discovery.StateFollower, find(t, g).State, "also if its host is silent")
		assert.Equal(t, discovery.DefaultGossipTimeout, time.Since(start), "which is worth waiting for")

		target = find(t, fresh)
		assert.True(t, target.Leader(), "who never reached it by HTTP has no reason to doubt")
		fresh.Report(target.Endpoint, errRefused)
		assert.Equal(t, discovery.StateFollower, find(t, fresh).State)

		c.set(func(c *cluster) { c.all[1].dead, c.all[2].state = true, "Leader" })
		assert.Equal(t, "10.0.0.3:1113", find(t, g).Endpoint.String(), "the gossip has caught up")
		assert.Equal(t, "10.0.0.3:1113", find(t, fresh).Endpoint.String())
	})
}

// If nothing else is there, a leader that does not answer by HTTP is still worth a try.
func TestGossipDoubtfulIsBetterThanNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20,
			member{ip: "10.0.0.1", state: "Leader"}, member{ip: "10.0.0.2", state: "CatchingUp"})
		g := c.gossip(discovery.GossipConfig{})
		find(t, g)
		c.stop["10.0.0.1"]()
		assert.True(t, find(t, g).Leader())
	})
}

func TestGossipNodesDisagree(t *testing.T) {
	t.Parallel()
	const a, b, cc = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	tests := []struct {
		name string
		says map[string][]member
		want string
	}{
		{
			name: "an old leader that is cut off still calls itself so: the later epoch counts",
			says: map[string][]member{
				a: {
					{ip: a, state: "Leader", epoch: 5, time: 30}, {ip: b, state: "Follower", dead: true, time: 31},
					{ip: cc, dead: true, state: "Follower", time: 31},
				},
				b: {
					{ip: a, state: "Leader", epoch: 5, dead: true, time: 9},
					{ip: b, state: "Leader", epoch: 6, time: 12}, {ip: cc, state: "Follower", time: 11},
				},
				cc: {
					{ip: a, state: "Leader", epoch: 5, dead: true, time: 9},
					{ip: b, state: "Leader", epoch: 6, time: 11}, {ip: cc, state: "Follower", time: 12},
				},
			},
			want: b,
		},
		{
			name: "what a node says of itself counts more than what is said of it later",
			says: map[string][]member{
				a: {
					{ip: a, state: "Follower", time: 1}, {ip: b, state: "Follower", time: 9},
					{ip: cc, state: "Leader", time: 1},
				},
				b: {
					{ip: a, state: "Leader", time: 9, epoch: 9}, {ip: b, state: "Follower", time: 1},
					{ip: cc, state: "Leader", time: 1},
				},
				cc: {
					{ip: a, state: "Leader", time: 8, epoch: 9}, {ip: b, state: "Leader", time: 1},
					{ip: cc, state: "Leader", time: 1},
				},
			},
			want: cc,
		},
		{
			name: "of a node that is silent, what was said last counts",
			says: map[string][]member{
				a: {{ip: a, state: "Follower"}, {ip: b, state: "Leader", time: 7}, {ip: cc, state: "Leader", time: 5}},
				b: {
					{ip: a, state: "Follower"}, {ip: b, state: "Leader", time: 7},
					{ip: cc, state: "Leader", dead: true, time: 6, epoch: 9},
				},
			},
			want: b,
		},
		{
			name: "at the same epoch the later word counts",
			says: map[string][]member{
				a: {
					{ip: a, state: "Leader", time: 1, epoch: 2}, {ip: b, state: "Follower"},
					{ip: cc, state: "Follower"},
				},
				b: {{ip: a, state: "Follower"}, {ip: b, state: "Follower"}, {ip: cc, state: "Follower"}},
				cc: {
					{ip: a, state: "Follower"}, {ip: b, state: "Follower"},
					{ip: cc, state: "Leader", time: 2, epoch: 2},
				},
			},
			want: cc,
		},
		{
			name: "the entry of a former life of the node does not hide the present one",
			says: map[string][]member{
				a: {
					{ip: a, state: "Follower"}, {ip: b, state: "Shutdown", dead: true, instance: "former", time: 3},
					{ip: b, state: "Leader", instance: "present", time: 5},
				},
			},
			want: b,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 10 { // the order of the answers must not matter
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, form20)
					for ip, says := range tt.says {
						c.says[ip] = says
						c.start(ip)
					}
					g := c.gossip(discovery.GossipConfig{Seeds: eps(a, b, cc)})
					assert.Equal(t, tt.want, find(t, g).Endpoint.Host)
				})
			}
		})
	}
}

func TestGossipTakesNoLongerThanNeeded(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := []struct {
		name string
		set  func(*cluster)
		want time.Duration
	}{
		{"all answer at once", func(*cluster) {}, 0},
		{"all answer, one later", func(c *cluster) { c.wait["10.0.0.1"] = 50 * ms }, 50 * ms},
		{"one answers late", func(c *cluster) { c.wait["10.0.0.1"] = 900 * ms }, discovery.DefaultSettle},
		{"one is silent", func(c *cluster) { c.net.drop("10.0.0.1:2113", true) }, discovery.DefaultSettle},
		{"all are late", func(c *cluster) {
			c.wait["10.0.0.1"], c.wait["10.0.0.2"], c.wait["10.0.0.3"] = 800*ms, 300*ms, 900*ms
		}, 300*ms + discovery.DefaultSettle},
		{"a seed that is no member is silent", func(c *cluster) { c.net.drop("10.0.0.99:2113", true) }, 0},
		{"one refuses", func(c *cluster) { c.stop["10.0.0.1"]() }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, form20, three()...)
				g := c.gossip(discovery.GossipConfig{Seeds: eps("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.99")})
				tt.set(c)
				start := time.Now()
				assert.True(t, find(t, g).Leader())
				assert.Equal(t, tt.want, time.Since(start))
			})
		})
	}
}

func TestGossipTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form5, three()...)
		c.net.drop("10.0.0.1:2113", true)                       // no TCP
		c.wait["10.0.0.2"] = time.Hour                          // no header
		c.stop["10.0.0.3"]()                                    // no end of the body
		c.net.serve(t, "10.0.0.3:2113", trickle(time.Second/3)) //
		g := c.gossip(discovery.GossipConfig{})
		start := time.Now()
		_, err := g.Next(t.Context())
		assert.Equal(t, discovery.DefaultGossipTimeout, time.Since(start))
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		reasons := reasonsOf(t, err)
		require.Len(t, reasons, 3)
		for _, r := range reasons {
			var late *discovery.TimeoutError
			assert.ErrorAs(t, r, &late, r.Endpoint)
			assert.Equal(t, discovery.StepGossip, r.Step)
		}
	})
}

// trickle sends a body without end, a byte each time.
func trickle(every time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(every):
			case <-r.Context().Done():
			}
		}
	})
}

func reasonsOf(t *testing.T, err error) []*discovery.CandidateError {
	t.Helper()
	var none *discovery.Error
	require.ErrorAs(t, err, &none)
	require.ErrorIs(t, err, discovery.ErrNoNode)
	for _, r := range none.Reasons {
		assert.ErrorIs(t, err, r.Err)
	}
	return none.Reasons
}

func TestGossipRefusesOtherAnswers(t *testing.T) {
	t.Parallel()
	write := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	good := form5.gossip("10.0.0.1", member{ip: "10.0.0.1", state: "Master"})
	many := make([]member, 300)
	for i := range many {
		many[i] = member{ip: fmt.Sprintf("10.0.1.%d", i), state: "Master"}
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		is      error
		says    string
	}{
		"empty":          {write(" \n"), discovery.ErrNotGossip, "it is empty"},
		"HTML":           {write("<html>"), discovery.ErrNotGossip, "invalid character '<'"},
		"another object": {write("{}"), discovery.ErrNotGossip, "lists 0 members"},
		"an array":       {write("[]"), discovery.ErrNotGossip, "cannot unmarshal array"},
		"null":           {write("null"), discovery.ErrNotGossip, "lists 0 members"},
		"no members":     {write(`{"members":null}`), discovery.ErrNotGossip, "lists 0 members"},
		"strange member": {write(`{"members":[{"externalTcpPort":"x"}]}`), discovery.ErrNotGossip, "externalTcpPort"},
		"cut":            {write(good[:len(good)/2]), discovery.ErrNotGossip, "unexpected end"},
		"trailing":       {write(good + "{}"), discovery.ErrNotGossip, "after top-level value"},
		"many members":   {write(form5.gossip("", many...)), discovery.ErrNotGossip, "lists 300 members"},
		"too large":      {write(good + strings.Repeat(" ", 1<<20)), discovery.ErrTooLarge, "more than 1048576 bytes"},
		"404":            {status(http.StatusNotFound), nil, "GossipOnSingleNode"},
		"403":            {status(http.StatusForbidden), nil, "Credentials"},
		"400":            {status(http.StatusBadRequest), nil, "gossipTLS=true"},
		"503":            {status(http.StatusServiceUnavailable), nil, "HTTP status 503"},
		"redirection": {func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/gossip", r.URL.Path, "it is not followed")
			http.Redirect(w, r, "http://10.0.0.1:2113/elsewhere", http.StatusFound)
		}, nil, "HTTP status 302"},
		"cut header": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, io.ErrUnexpectedEOF,
			"the port must be the one for HTTP",
		},
		"long header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 100<<10))
		}, discovery.ErrTooLarge, "more than 65536 bytes of header"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork()
				net.serve(t, "10.0.0.1:2113", tt.handler)
				g, err := discovery.NewGossip(discovery.GossipConfig{Seeds: eps("10.0.0.1"), Dial: net.dial})
				require.NoError(t, err)
				_, err = g.Next(t.Context())
				reasons := reasonsOf(t, err)
				require.Len(t, reasons, 1)
				assert.Equal(t, ep("10.0.0.1:2113"), reasons[0].Endpoint)
				assert.ErrorContains(t, err, "gossip 10.0.0.1:2113: ")
				assert.ErrorContains(t, err, tt.says)
				if tt.is != nil {
					assert.ErrorIs(t, err, tt.is)
				}

				// One that talks nonsense does no harm to the others.
				net.serve(t, "10.0.0.2:2113", write(form5.gossip("10.0.0.2", member{ip: "10.0.0.2", state: "Master"})))
				g, err = discovery.NewGossip(discovery.GossipConfig{Seeds: eps("10.0.0.1", "10.0.0.2"), Dial: net.dial})
				require.NoError(t, err)
				assert.Equal(t, "10.0.0.2:1113", find(t, g).Endpoint.String())
			})
		})
	}
}

func TestGossipErrorNamesEveryReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20,
			member{ip: "10.0.0.1", state: "Unknown"}, member{ip: "10.0.0.2", state: "Follower", dead: true},
			member{ip: "10.0.0.3", state: "Leader", tcp: -1}, member{ip: "10.0.0.4", state: "Follower"})
		c.stop["10.0.0.2"]()
		g := c.gossip(discovery.GossipConfig{})
		g.Report(ep("10.0.0.4:1113"), errRefused)
		_, err := g.Next(t.Context())
		reasonsOf(t, err)
		for _, says := range []string{
			"discovery: no node to connect to: ",
			"gossip 10.0.0.2:2113: dial tcp: connect: connection refused",
			`member 10.0.0.1:1113: does not serve clients in state "Unknown"`,
			"member 10.0.0.2:1113: is listed as not alive",
			"member 10.0.0.3:2113: has no usable TCP endpoint",
			"member 10.0.0.4:1113: held off for another 250ms after 1 failed connections: connection refused",
		} {
			assert.ErrorContains(t, err, says)
		}
		assert.ErrorIs(t, err, discovery.ErrNotAlive)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.NotContains(t, err.Error(), "\n")
	})
}

func TestGossipBoundsItsRequestsAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20)
		var seeds []discovery.Endpoint
		for i := range 40 {
			seeds = append(seeds, discovery.Endpoint{Host: fmt.Sprintf("10.0.2.%d", i)})
			c.net.drop(httpAddr(seeds[i].Host), true)
		}
		g := c.gossip(discovery.GossipConfig{Seeds: seeds})
		start := time.Now()
		_, err := g.Next(t.Context())
		assert.Len(t, reasonsOf(t, err), 40)
		assert.ErrorContains(t, err, "; and 28 more")
		assert.Equal(t, 3*discovery.DefaultGossipTimeout, time.Since(start), "40 in three lots of up to 16")
		assert.Equal(t, 16, c.net.most)
		assert.Zero(t, c.net.open)
	})
}

// What one liar says is bounded in its effect: it may not make us ask the whole world.
func TestGossipBoundsItsMembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, member{ip: "10.0.0.1", state: "Leader"})
		c.set(func(c *cluster) {
			for i := range 250 {
				c.all = append(c.all, member{ip: fmt.Sprintf("10.0.3.%d", i), state: "Follower", dead: true})
			}
		})
		g := c.gossip(discovery.GossipConfig{Seeds: eps("10.0.0.1")})
		find(t, g)
		c.stop["10.0.0.1"]()
		_, err := g.Next(t.Context())
		reasons := reasonsOf(t, err)
		assert.GreaterOrEqual(t, len(reasons), 64)
		assert.LessOrEqual(t, len(reasons), 65, "64 learned, and the seed")
	})
}

func TestGossipLeavesNoConnectionOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, three()...)
		c.wait["10.0.0.3"] = 900 * time.Millisecond
		g := c.gossip(discovery.GossipConfig{})
		for range 3 {
			find(t, g)
			assert.Zero(t, c.net.open)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c.set(func(c *cluster) { c.wait["10.0.0.1"], c.wait["10.0.0.2"] = time.Hour, time.Hour })
		_, err := g.Next(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, c.net.open)
	})
}

// The shapes of the answers in these tests are those of the servers.
func TestGossipForms(t *testing.T) {
	t.Parallel()
	keys := func(f form) map[string]any {
		var doc struct {
			Members []map[string]any `json:"members"`
		}
		require.NoError(t, json.Unmarshal([]byte(f.gossip("10.0.0.1", member{ip: "10.0.0.1"})), &doc))
		return doc.Members[0]
	}
	both := []string{
		"instanceId", "timeStamp", "state", "isAlive", "internalTcpIp", "internalTcpPort", "internalSecureTcpPort",
		"externalTcpIp", "externalTcpPort", "externalSecureTcpPort", "lastCommitPosition", "writerCheckpoint",
		"chaserCheckpoint", "epochPosition", "epochNumber", "epochId", "nodePriority",
	}
	for f, own := range map[form][]string{
		form5:  {"internalHttpIp", "internalHttpPort", "externalHttpIp", "externalHttpPort"},
		form20: {"httpEndPointIp", "httpEndPointPort", "isReadOnlyReplica", "esVersion", "advertiseHostToClientAs"},
	} {
		got := keys(f)
		for _, k := range append(own, both...) {
			assert.Contains(t, got, k)
		}
		assert.Len(t, got, len(own)+len(both))
	}
}

// startingError is the reported error of a node that answers and cannot serve yet.
type startingError struct{}

func (startingError) Error() string   { return "it is starting" }
func (startingError) Transient() bool { return true }

func TestGossipHoldsOffANodeThatIsStartingForTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, member{ip: "10.0.0.1", state: "Leader"})
		g := c.gossip(discovery.GossipConfig{})
		for range 5 {
			find(t, g)
			g.Report(ep("10.0.0.1:1113"), fmt.Errorf("handshake: %w", startingError{}))
			_, err := g.Next(t.Context())
			var none *discovery.Error
			require.ErrorAs(t, err, &none)
			assert.Equal(t, discovery.DefaultHoldOff, none.RetryAfter)
			time.Sleep(none.RetryAfter)
		}
	})
}

func TestGossipErrorsTellWhetherSomebodyAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"a node that starts":        {&discovery.StateError{State: discovery.StateInitializing}, true},
		"a node that is dead":       {discovery.ErrNotAlive, true},
		"HTTP 503":                  {&discovery.StatusError{Code: 503}, true},
		"HTTP 401":                  {&discovery.StatusError{Code: 401}, false},
		"nobody":                    {errRefused, false},
		"a node that refuses TCP":   {&discovery.HeldOffError{Err: errRefused}, false},
		"silence":                   {&discovery.TimeoutError{After: time.Second}, false},
		"a web server":              {discovery.ErrNotGossip, false},
		"a name without an address": {discovery.ErrNoAddress, false},
	} {
		e := &discovery.Error{Reasons: []*discovery.CandidateError{{Err: errRefused}, {Err: tt.err}}}
		assert.Equal(t, tt.want, e.Transient(), name)
	}
}
