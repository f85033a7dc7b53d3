package httpapi

import (
	"crypto/tls"
	"errors"
	"net/url"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// DefaultPort is the default port of a server's HTTP interface.
const DefaultPort = discovery.DefaultGossipPort

// locate finds the HTTP interface: at HTTPEndpoint, at the seeds of Gossip, or at the host of Address.
func (c *Client) locate() error {
	cfg := &c.cfg
	var seeds []discovery.Endpoint
	c.tls = cfg.TLS
	switch {
	case cfg.HTTPEndpoint != "":
		scheme, endpoint, err := ParseEndpoint(cfg.HTTPEndpoint)
		if err != nil {
			return err
		}
		seeds = append(seeds, endpoint)
		switch {
		case scheme == "http":
			c.tls = nil
		case scheme == "https" && c.tls == nil:
			c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	case cfg.Discoverer != nil:
		return errors.New("is missing: a Discoverer does not know the HTTP interface")
	case cfg.Gossip != nil:
		seeds, c.tls = cfg.Gossip.Seeds, cfg.Gossip.TLS
	default:
		endpoint, err := discovery.ParseEndpoint(cfg.Address)
		if err != nil {
			return errors.New("is missing, and Address is not host:port")
		}
		seeds = append(seeds, discovery.Endpoint{Host: endpoint.Host})
	}
	u := url.URL{Scheme: "http"}
	if c.tls != nil {
		u.Scheme = "https"
	}
	for _, e := range seeds {
		e = e.WithDefaultPort(DefaultPort)
		u.Host = e.String()
		c.endpoints = append(c.endpoints, e)
		c.urls = append(c.urls, u.String())
	}
	return nil
}

// ParseEndpoint parses host:port, with or without http:// or https:// in front. Its error does not quote a part that
// may be a password.
func ParseEndpoint(s string) (scheme string, e discovery.Endpoint, err error) {
	rest := s
	if before, after, ok := strings.Cut(s, "://"); ok {
		scheme, rest = strings.ToLower(before), strings.TrimSuffix(after, "/")
	}
	if scheme == "" || scheme == "http" || scheme == "https" {
		if e, err = discovery.ParseEndpoint(rest); err == nil {
			return scheme, e, nil
		}
	}
	return "", e, errors.New("is not host:port, or a URL such as https://host:2113")
}
