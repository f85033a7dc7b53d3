package discovery_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

func newDNS(t *testing.T, cfg discovery.DNSConfig) *discovery.DNS {
	t.Helper()
	d, err := discovery.NewDNS(cfg)
	require.NoError(t, err)
	return d
}

func TestDNSHandsOutAllAddresses(t *testing.T) {
	t.Parallel()
	server := newDNSServer(t)
	server.addrs["cluster.test."] = []string{"10.0.0.1", "10.0.0.2", "2001:db8::3"}
	d := newDNS(t, discovery.DNSConfig{Name: "cluster.test.", Resolver: server.resolver()})

	all := []string{"10.0.0.1:1113", "10.0.0.2:1113", "[2001:db8::3]:1113"}
	first := next(t, d, 3)
	assert.ElementsMatch(t, all, first)
	assert.ElementsMatch(t, all, next(t, d, 3))
	target, err := d.Next(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "cluster.test", target.ServerName, "the certificate is for the name")

	d.Report(target.Endpoint, errRefused)
	rest := next(t, d, 4)
	assert.NotContains(t, rest, target.Endpoint.String(), "it is held off")
	assert.Equal(t, rest[:2], rest[2:])
	assert.NotEqual(t, rest[0], rest[1])
}

func TestDNSFollowsChanges(t *testing.T) {
	t.Parallel()
	server := newDNSServer(t)
	server.addrs["cluster.test."] = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
	d := newDNS(t, discovery.DNSConfig{Name: "cluster.test.", Port: 7, Shuffle: true, Resolver: server.resolver()})
	assert.ElementsMatch(t, []string{"10.0.0.1:7", "10.0.0.2:7", "10.0.0.3:7"}, next(t, d, 3))

	server.set(func(s *dnsServer) { s.addrs["cluster.test."] = []string{"10.0.0.9"} })
	assert.Equal(t, []string{"10.0.0.9:7", "10.0.0.9:7"}, next(t, d, 2))

	server.set(func(s *dnsServer) { s.fail = errors.New("name server is away") })
	assert.Equal(t, []string{"10.0.0.9:7"}, next(t, d, 1), "an old address is better than none")

	server.set(func(s *dnsServer) { s.fail = nil; delete(s.addrs, "cluster.test.") })
	_, err := d.Next(t.Context())
	require.ErrorIs(t, err, discovery.ErrNoNode)
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
	assert.True(t, dns.IsNotFound, "but not if the name is gone")

	server.set(func(s *dnsServer) { s.addrs["cluster.test."] = []string{"10.0.0.4"} })
	assert.Equal(t, []string{"10.0.0.4:7"}, next(t, d, 1), "no failure is final")
}

func TestDNSOfAnAddress(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"[::1]:1113", "[::1]:1113"}, next(t, newDNS(t, discovery.DNSConfig{Name: "::1"}), 2))
}

func TestDNSServiceRecords(t *testing.T) {
	t.Parallel()
	const name = "_eventstore._tcp.cluster.test."
	server := newDNSServer(t)
	server.srv[name] = []net.SRV{
		{Target: "backup.test.", Port: 1115, Priority: 20, Weight: 1},
		{Target: "b.test.", Port: 1114, Priority: 10, Weight: 1},
		{Target: "a.test.", Port: 1113, Priority: 10, Weight: 1},
		{Target: "none.test.", Port: 0, Priority: 1, Weight: 1},
		{Target: ".", Port: 1, Priority: 1, Weight: 1},
	}
	d := newDNS(t, discovery.DNSConfig{Name: name, SRV: true, Resolver: server.resolver()})

	seen := make(map[string]int)
	for range 100 {
		target, err := d.Next(t.Context())
		require.NoError(t, err)
		assert.Empty(t, target.ServerName, "the certificate is for the record's target")
		seen[target.Endpoint.String()]++
	}
	assert.Len(t, seen, 2)
	assert.Positive(t, seen["a.test:1113"])
	assert.Positive(t, seen["b.test:1114"])

	d.Report(ep("a.test:1113"), errRefused)
	assert.Equal(t, []string{"b.test:1114", "b.test:1114"}, next(t, d, 2))
	d.Report(ep("b.test:1114"), errRefused)
	assert.Equal(t, []string{"backup.test:1115"}, next(t, d, 1), "the next priority, while the first is held off")
	d.Report(ep("backup.test:1115"), errRefused)
	assert.Len(t, next(t, d, 1), 1)

	server.set(func(s *dnsServer) { s.srv[name] = s.srv[name][3:] })
	_, err := d.Next(t.Context())
	assert.ErrorIs(t, err, discovery.ErrNoAddress)
	assert.ErrorContains(t, err, name)
}

func TestDNSTimeout(t *testing.T) {
	t.Parallel()
	server := newDNSServer(t)
	server.mute = true
	for _, srv := range []bool{false, true} {
		d := newDNS(t, discovery.DNSConfig{
			Name: "slow.test.", SRV: srv, Timeout: 30 * time.Millisecond, Resolver: server.resolver(),
		})
		_, err := d.Next(t.Context())
		var late *discovery.TimeoutError
		require.ErrorAs(t, err, &late)
		assert.Equal(t, 30*time.Millisecond, late.After)
		assert.True(t, late.Timeout())
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "that would be the caller's")
		var failed *discovery.CandidateError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, discovery.StepLookup, failed.Step)
		assert.Equal(t, "slow.test.", failed.Endpoint.Host)
	}

	d := newDNS(t, discovery.DNSConfig{Name: "slow.test.", Timeout: time.Hour, Resolver: server.resolver()})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := d.Next(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorIs(t, err, discovery.ErrNoNode)
}

// Go's resolver goes on until its own timeout of 5 s; the end of the test, which waits for the server, shows that it
// was stopped.
func TestDNSCancelled(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, srv := range []bool{false, true} {
		server := newDNSServer(t)
		server.mute, server.asked = true, make(chan struct{}, 10)
		d := newDNS(t, discovery.DNSConfig{
			Name: "slow.test.", SRV: srv, Timeout: time.Hour, Resolver: server.resolver(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-server.asked
			cancel()
		}()
		_, err := d.Next(ctx)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, discovery.ErrNoNode)
		server.stop()
	}
	assert.Less(t, time.Since(start), 4*time.Second)
}

func TestDNSConfigRefuses(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]discovery.DNSConfig{
		"Name":    {Name: "host:1113"},
		"Port":    {Name: "a", Port: 70000},
		"Timeout": {Name: "a", Timeout: -1},
		"Shuffle": {Name: "a", SRV: true, Shuffle: true},
	} {
		_, err := discovery.NewDNS(cfg)
		var bad *discovery.ConfigError
		require.ErrorAs(t, err, &bad, field)
		assert.Equal(t, field, bad.Field)
	}
	_, err := discovery.NewDNS(discovery.DNSConfig{})
	assert.ErrorContains(t, err, "no host")
	_, err = discovery.NewDNS(discovery.DNSConfig{Name: strings.Repeat("a", 300)})
	assert.ErrorContains(t, err, "254")
}
