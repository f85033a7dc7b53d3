package discovery_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

func TestGossipPreferences(t *testing.T) {
	t.Parallel()
	members5 := []member{
		{ip: "10.0.0.1", state: "Slave"}, {ip: "10.0.0.2", state: "Master"}, {ip: "10.0.0.3", state: "Slave"},
		{ip: "10.0.0.4", state: "Clone"}, {ip: "10.0.0.5", state: "Manager"}, {ip: "10.0.0.6", state: "CatchingUp"},
	}
	members20 := []member{
		{ip: "10.0.0.1", state: "Follower"}, {ip: "10.0.0.2", state: "Leader"}, {ip: "10.0.0.3", state: "Follower"},
		{ip: "10.0.0.4", state: "ReadOnlyReplica", replica: true}, {ip: "10.0.0.5", state: "PreReplica"},
		{ip: "10.0.0.6", state: "Follower", dead: true},
	}
	leader, followers := []string{"10.0.0.2:1113"}, []string{"10.0.0.1:1113", "10.0.0.3:1113"}
	tests := []struct {
		name    string
		form    form
		members []member
		prefer  discovery.Preference
		want    []string // each comes up at some time, and nothing else
	}{
		{"5 leader", form5, members5, discovery.PreferLeader, leader},
		{"5 follower", form5, members5, discovery.PreferFollower, followers},
		{"5 replica: there is none", form5, members5, discovery.PreferReadOnlyReplica, leader},
		{
			"5 random", form5, members5, discovery.PreferRandom,
			append([]string{"10.0.0.2:1113", "10.0.0.4:1113"}, followers...),
		},
		{"20 leader", form20, members20, discovery.PreferLeader, leader},
		{"20 follower", form20, members20, discovery.PreferFollower, followers},
		{"20 replica", form20, members20, discovery.PreferReadOnlyReplica, []string{"10.0.0.4:1113"}},
		{
			"20 random", form20, members20, discovery.PreferRandom,
			append([]string{"10.0.0.2:1113", "10.0.0.4:1113"}, followers...),
		},
		{"no leader", form20, members20[2:], discovery.PreferLeader, []string{"10.0.0.3:1113"}},
		{"no follower", form20, members20[3:], discovery.PreferFollower, []string{"10.0.0.4:1113"}},
		{"a clone at last", form5, members5[3:], discovery.PreferLeader, []string{"10.0.0.4:1113"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, tt.form, tt.members...)
				g := c.gossip(discovery.GossipConfig{Preference: tt.prefer})
				seen := make(map[string]bool)
				for range 100 {
					target := find(t, g)
					seen[target.Endpoint.String()] = true
					assert.Equal(t, slices.Equal(tt.want, leader), target.Leader() && len(tt.want) == 1)
					assert.NotEmpty(t, target.InstanceID)
				}
				for _, want := range tt.want {
					assert.Contains(t, seen, want)
				}
				assert.Len(t, seen, len(tt.want))
			})
		})
	}
}

// These are all states of the servers, and texts that are none.
func TestGossipStates(t *testing.T) {
	t.Parallel()
	serves := map[string]discovery.State{
		"Master": discovery.StateLeader, "Leader": discovery.StateLeader, "leader": discovery.StateLeader,
		"Slave": discovery.StateFollower, "Follower": discovery.StateFollower, "Clone": discovery.StateClone,
		"ReadOnlyReplica": discovery.StateReadOnlyReplica, "ReadOnlyLeaderless": discovery.StateReadOnlyLeaderless,
	}
	for word, state := range serves {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, form20, member{ip: "10.0.0.1", state: word})
			target := find(t, c.gossip(discovery.GossipConfig{}))
			assert.Equal(t, state, target.State, word)
			assert.Equal(t, state == discovery.StateLeader, target.Leader())
		})
	}
	for word, state := range map[string]discovery.State{
		"Initializing": discovery.StateInitializing, "DiscoverLeader": discovery.StateDiscoverLeader,
		"Unknown": discovery.StateUnknown, "PreReplica": discovery.StatePreReplica,
		"CatchingUp": discovery.StateCatchingUp, "PreMaster": discovery.StatePreLeader,
		"PreLeader": discovery.StatePreLeader, "Manager": discovery.StateManager,
		"ShuttingDown": discovery.StateShuttingDown, "Shutdown": discovery.StateShutdown,
		"PreReadOnlyReplica": discovery.StatePreReadOnlyReplica, "ResigningLeader": discovery.StateResigningLeader,
		"Meditating": "Meditating", "": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, form20, member{ip: "10.0.0.1", state: word})
			_, err := c.gossip(discovery.GossipConfig{}).Next(t.Context())
			var bad *discovery.StateError
			require.ErrorAs(t, err, &bad, word)
			assert.Equal(t, state, bad.State)
			assert.False(t, bad.State.Serves())
			assert.ErrorContains(t, err,
				fmt.Sprintf("member 10.0.0.1:1113: does not serve clients in state %q", string(state)))
		})
	}
}

// Which port counts depends on whether TLS is configured, and not on which one is there.
func TestGossipPlainOrSecure(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		member member
		plain  string
		secure string
	}{
		{"plain only", member{tcp: 1113}, "10.0.0.1:1113", ""},
		{"secure only", member{tcp: -1, secure: 1115}, "", "10.0.0.1:1115"},
		{"two listeners", member{tcp: 1113, secure: 1115}, "10.0.0.1:1113", "10.0.0.1:1115"},
		{"one listener, advertised twice", member{tcp: 1111, secure: 1111}, "10.0.0.1:1111", "10.0.0.1:1111"},
		{"no TCP at all", member{tcp: -1}, "", ""},
		{"no possible port", member{tcp: 70000, secure: 70000}, "", ""},
		{"a wildcard", member{wildcard: true, secure: 1115}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.member.ip, tt.member.state = "10.0.0.1", "Leader"
			for secure, want := range map[bool]string{false: tt.plain, true: tt.secure} {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, form20, tt.member)
					target, err := c.gossip(discovery.GossipConfig{SecureTCP: secure}).Next(t.Context())
					if want == "" {
						assert.ErrorIs(t, err, discovery.ErrNoTCPEndpoint)
						assert.ErrorContains(t, err, "10.0.0.1:2113")
						return
					}
					require.NoError(t, err)
					assert.Equal(t, want, target.Endpoint.String())
				})
			}
		})
	}
}

func TestGossipIPv6(t *testing.T) {
	t.Parallel()
	for _, f := range []form{form5, form20} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, f, member{ip: "2001:db8::1", state: "Follower"},
				member{ip: "2001:db8::2", state: "Leader"})
			g := c.gossip(discovery.GossipConfig{Seeds: eps("[2001:db8::1]")})
			assert.Equal(t, "[2001:db8::2]:1113", find(t, g).Endpoint.String())
			c.stop["2001:db8::1"]()
			assert.Equal(t, "[2001:db8::2]:1113", find(t, g).Endpoint.String(), "a learned member is asked")
		})
	}
}

func TestGossipMap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, member{ip: "172.30.240.11", state: "Follower"},
			member{ip: "172.30.240.12", state: "Leader"})
		// Only mapped addresses lead anywhere.
		inside := map[string]discovery.Endpoint{
			"127.0.0.1:2111": ep("172.30.240.11:2113"), "127.0.0.1:2112": ep("172.30.240.12:2113"),
		}
		outside := map[discovery.Endpoint]discovery.Endpoint{
			ep("172.30.240.11:2113"): ep("127.0.0.1:2111"), ep("172.30.240.12:2113"): ep("127.0.0.1:2112"),
			ep("172.30.240.11:1113"): ep("127.0.0.1:1111"), ep("172.30.240.12:1113"): ep("127.0.0.1:1112"),
		}
		cfg := discovery.GossipConfig{
			Seeds: eps("127.0.0.1:2111"),
			Map:   func(advertised discovery.Endpoint) discovery.Endpoint { return outside[advertised] },
		}
		g := c.gossip(cfg)
		for address, host := range inside {
			c.net.mu.Lock()
			c.net.hosts[address] = c.net.hosts[host.String()]
			c.net.mu.Unlock()
		}
		c.net.drop("172.30.240.11:2113", true)
		c.net.drop("172.30.240.12:2113", true)

		assert.Equal(t, "127.0.0.1:1112", find(t, g).Endpoint.String())
		c.stop["172.30.240.11"]()
		c.set(func(c *cluster) { c.all[0].dead = true })
		assert.Equal(t, "127.0.0.1:1112", find(t, g).Endpoint.String(), "learned members are mapped, too")
		assert.Equal(t, ep("127.0.0.1:1112"), g.MapEndpoint(ep("172.30.240.12:1113")))

		cfg.Map = nil
		assert.Equal(t, ep("172.30.240.12:1113"), c.gossip(cfg).MapEndpoint(ep("172.30.240.12:1113")))
	})
}

func TestGossipSelect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, append(three(), member{ip: "10.0.0.4", state: "Unknown"})...)
		var given []discovery.Member
		choose := func(members []discovery.Member) []discovery.Member { return members[1:] }
		g := c.gossip(discovery.GossipConfig{Select: func(members []discovery.Member) []discovery.Member {
			given = slices.Clone(members)
			return choose(members)
		}})
		target := find(t, g)
		assert.Equal(t, discovery.StateFollower, target.State)
		require.Len(t, given, 3, "only those that can serve")
		assert.Equal(t, target.Endpoint, given[1].TCP)
		assert.Equal(t, discovery.Member{
			InstanceID: given[0].InstanceID, State: discovery.StateLeader, Alive: true, TCP: ep("10.0.0.2:1113"),
			HTTP: ep("10.0.0.2:2113"), TimeStamp: time.Date(2026, 1, 2, 3, 4, 0, 123456700, time.UTC),
			LastCommitPosition: 1073741824, WriterCheckpoint: 1073741999, EpochNumber: 1, NodePriority: 3,
			Version: "23.10.0.0",
		}, given[0], "the leader first")

		first := target.Endpoint
		g.Report(first, errRefused)
		choose = func(members []discovery.Member) []discovery.Member {
			slices.SortFunc(members, func(a, b discovery.Member) int {
				if a.TCP == first {
					return -1
				}
				return 1
			})
			return members[:2]
		}
		assert.NotEqual(t, first, find(t, g).Endpoint, "the first choice is held off")

		choose = func([]discovery.Member) []discovery.Member { return nil }
		_, err := g.Next(t.Context())
		assert.ErrorIs(t, err, discovery.ErrNotSelected)
		assert.ErrorIs(t, err, discovery.ErrNoNode)

		choose = func([]discovery.Member) []discovery.Member { return []discovery.Member{{}} }
		_, err = g.Next(t.Context())
		assert.ErrorIs(t, err, discovery.ErrNoTCPEndpoint, "an invented member")

		choose = func(members []discovery.Member) []discovery.Member { panic("user") }
		assert.PanicsWithValue(t, "user", func() {
			_, _ = g.Next(t.Context())
		}, "it is the caller's, and nothing is left over")
	})
}

func TestGossipCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		net.serve(t, "10.0.0.1:2113", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if login, password, _ := r.BasicAuth(); login != "admin" || password != "change:it" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte(form20.gossip("10.0.0.1", member{ip: "10.0.0.1", state: "Leader"})))
		}))
		cfg := discovery.GossipConfig{
			Seeds: eps("10.0.0.1"), Dial: net.dial,
			Credentials: &discovery.Credentials{Login: "admin", Password: "change:it"},
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			assert.NotContains(t, fmt.Sprintf(verb, cfg.Credentials), "change:it")
			assert.NotContains(t, fmt.Sprintf(verb, *cfg.Credentials), "admin")
		}
		g, err := discovery.NewGossip(cfg)
		require.NoError(t, err)
		assert.True(t, find(t, g).Leader())

		cfg.Credentials = &discovery.Credentials{Login: "admin", Password: "guess"}
		g, err = discovery.NewGossip(cfg)
		require.NoError(t, err)
		_, err = g.Next(t.Context())
		var status *discovery.StatusError
		require.ErrorAs(t, err, &status)
		assert.Equal(t, http.StatusUnauthorized, status.Code)
		assert.ErrorContains(t, err, "set GossipConfig.Credentials")
		assert.NotContains(t, err.Error(), "guess")
	})
}

func TestGossipServesManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, three()...)
		g := c.gossip(discovery.GossipConfig{})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for range 20 {
					target, err := g.Next(t.Context())
					if !assert.NoError(t, err) {
						return
					}
					if i%2 == 0 {
						g.Report(target.Endpoint, nil)
					} else if !target.Leader() {
						g.Report(target.Endpoint, errRefused)
					}
				}
			})
		}
		wg.Wait()
		assert.True(t, find(t, g).Leader())
	})
}

func TestGossipConfigRefuses(t *testing.T) {
	t.Parallel()
	seeds := eps("a")
	for field, cfg := range map[string]discovery.GossipConfig{
		"Seeds":      {},
		"Seeds[1]":   {Seeds: []discovery.Endpoint{{Host: "a"}, {Host: "http://a"}}},
		"Preference": {Seeds: seeds, Preference: 9},
		"Select": {
			Seeds: seeds, Preference: discovery.PreferRandom,
			Select: func(m []discovery.Member) []discovery.Member { return m },
		},
		"Credentials.Login": {Seeds: seeds, Credentials: &discovery.Credentials{Login: "a:b"}},
		"Timeout":           {Seeds: seeds, Timeout: -1},
		"Settle":            {Seeds: seeds, Settle: -1},
		"HoldOff":           {Seeds: seeds, HoldOff: -1},
		"MaxHoldOff":        {Seeds: seeds, HoldOff: 2 * time.Second, MaxHoldOff: time.Second},
		"MaxBodyBytes":      {Seeds: seeds, MaxBodyBytes: -1},
	} {
		_, err := discovery.NewGossip(cfg)
		var bad *discovery.ConfigError
		require.ErrorAs(t, err, &bad, field)
		assert.Equal(t, field, bad.Field)
		assert.ErrorContains(t, err, field)
	}
}

func TestGossipEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, three()...)
		for _, m := range three() {
			c.net.drop(httpAddr(m.ip), true)
		}
		g := c.gossip(discovery.GossipConfig{Timeout: time.Hour})
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errRefused)
		defer cancel()
		start := time.Now()
		_, err := g.Next(ctx)
		assert.Equal(t, time.Minute, time.Since(start))
		assert.ErrorIs(t, err, errRefused)
		assert.ErrorIs(t, err, discovery.ErrNoNode)
		_, err = g.Next(ctx)
		assert.ErrorIs(t, err, errRefused, "from the start")
	})
}
