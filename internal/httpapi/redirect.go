package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// client returns the client for a request. It trusts the authorities that are in the file now.
func (c *Client) client() *http.Client {
	transport := c.http.Clone()
	transport.TLSClientConfig = c.cfg.Authorities.Trusted(c.tls)
	return &http.Client{Transport: transport, CheckRedirect: c.redirect}
}

// redirect follows a redirect to the leader. It sends the credentials to nodes of the same cluster, by any of their
// names, and to no other host. It does not send them in the clear if they were encrypted before.
func (c *Client) redirect(r *http.Request, via []*http.Request) error {
	if len(via) >= 5 || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	credentials := via[0].Header.Get("Authorization")
	if credentials == "" {
		return nil
	}
	if !c.isOfCluster(r.Context(), r.URL.Hostname()) {
		return fmt.Errorf("sent on to %s, which is not known to be a node of this cluster and gets no credentials: "+
			"add it to the seeds of Config.Gossip if it is one", r.URL.Host)
	}
	r.Header.Set("Authorization", credentials)
	return nil
}

// isOfCluster reports whether a host is in the configuration or in the gossip.
func (c *Client) isOfCluster(ctx context.Context, host string) bool {
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
	for _, e := range c.endpoints {
		if known(e.Host) {
			return true
		}
	}
	for _, member := range c.members(ctx) {
		if known(member.HTTP.Host) || known(member.TCP.Host) {
			return true
		}
	}
	return false
}

// members returns the nodes of the cluster: the known ones, or those of the gossip, which it requests now.
func (c *Client) members(ctx context.Context) []discovery.Member {
	if c.cfg.Members != nil {
		if members := c.cfg.Members(); len(members) > 0 {
			return members
		}
	}
	cfg := discovery.GossipConfig{Seeds: c.endpoints, TLS: c.tls}
	if c.cfg.Gossip != nil {
		cfg = *c.cfg.Gossip
	}
	if cfg.Dial == nil {
		cfg.Dial = c.http.DialContext
	}
	if cfg.RootCAs == nil {
		cfg.RootCAs = c.cfg.Authorities.Pool
	}
	if cfg.TLS != nil && cfg.Credentials == nil {
		cfg.Credentials = c.cfg.Credentials
	}
	gossip, err := discovery.NewGossip(cfg)
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
