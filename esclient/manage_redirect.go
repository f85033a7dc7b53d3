package esclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// client returns what makes a request. It trusts whom Config.TLSCAFile names at the moment.
func (m *Management) client() *http.Client {
	transport := m.http.Clone()
	transport.TLSClientConfig = m.c.dialer.trust.trusted(m.tls)
	return &http.Client{Transport: transport, CheckRedirect: m.redirect}
}

// redirect follows a follower's word to the leader. The credentials go along to nodes of the same cluster, whatever
// their names are, and to nobody else, nor in the clear where they were not before.
func (m *Management) redirect(r *http.Request, via []*http.Request) error {
	if len(via) >= 5 || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	credentials := via[0].Header.Get("Authorization")
	if credentials == "" {
		return nil
	}
	if !m.isOfCluster(r.Context(), r.URL.Hostname()) {
		return fmt.Errorf("sent on to %s, which is not known to be a node of this cluster and gets no credentials: "+
			"is it to be among the seeds of Config.Gossip?", r.URL.Host)
	}
	r.Header.Set("Authorization", credentials)
	return nil
}

// isOfCluster reports whether a host is one of those that the configuration names, or that gossip knows.
func (m *Management) isOfCluster(ctx context.Context, host string) bool {
	addresses := addressesOf(ctx, host)
	known := func(other string) bool {
		if strings.EqualFold(host, other) {
			return true
		}
		for a := range addressesOf(ctx, other) {
			if addresses[a] {
				return true
			}
		}
		return false
	}
	for _, e := range m.endpoints {
		if known(e.Host) {
			return true
		}
	}
	for _, member := range m.members(ctx) {
		if known(member.HTTP.Host) || known(member.TCP.Host) {
			return true
		}
	}
	return false
}

// members returns the nodes of the cluster: as the client knows them, or as those nodes say that requests are made of.
func (m *Management) members(ctx context.Context) []discovery.Member {
	if k, ok := m.c.dialer.discover.(membership); ok {
		if members := k.Members(); len(members) > 0 {
			return members
		}
	}
	gossip, err := discovery.NewGossip(discovery.GossipConfig{
		Seeds: m.endpoints, TLS: m.tls, RootCAs: m.c.dialer.trust.pool, Dial: m.http.DialContext,
	})
	if err != nil {
		return nil
	}
	if _, err := gossip.Next(ctx); err != nil && !errors.Is(err, discovery.ErrNoNode) {
		return nil
	}
	return gossip.Members()
}

// addressesOf returns the addresses of a host; none if it has none.
func addressesOf(ctx context.Context, host string) map[string]bool {
	found := make(map[string]bool)
	if host == "" {
		return found
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return found
	}
	for _, a := range addresses {
		found[a] = true
	}
	return found
}
