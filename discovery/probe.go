package discovery

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// maxProbes bounds the lookups and requests of one attempt that run at the same time.
const maxProbes = 16

// asking is the part of an attempt that looks up names and sends requests. It sends the results to the round as
// events.
type asking struct {
	g      *Gossip
	events chan event
	slots  chan struct{}

	mu      sync.Mutex
	claimed map[claim]bool
}

// claim prevents two requests to one address that two sources share. With HTTPS the name counts too: the certificate
// may be valid for one of the names only.
type claim struct {
	addr Endpoint
	name string
}

// ask asks all sources. It closes the channel when all goroutines that it started have ended. The end of ctx ends them.
func (g *Gossip) ask(ctx context.Context, sources []Endpoint) <-chan event {
	a := &asking{
		g:       g,
		events:  make(chan event),
		slots:   make(chan struct{}, maxProbes),
		claimed: make(map[claim]bool),
	}
	go func() {
		defer close(a.events)
		var wg sync.WaitGroup
		defer wg.Wait()
		for _, s := range sources {
			if !a.acquire(ctx) {
				return
			}
			wg.Go(func() { a.ask(ctx, s) })
		}
	}()
	return a.events
}

func (a *asking) acquire(ctx context.Context) bool {
	select {
	case a.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *asking) release() { <-a.slots }

func (a *asking) send(ctx context.Context, ev event) {
	select {
	case a.events <- ev:
	case <-ctx.Done():
	}
}

// ask looks the source up and asks each of its addresses. It returns the slot of the lookup before it takes others: if
// all sources held one slot and waited for another, none would get it.
func (a *asking) ask(ctx context.Context, source Endpoint) {
	addrs, err := lookupAddresses(ctx, a.g.cfg.Resolver, source, a.g.cfg.Timeout)
	a.release()
	mine := a.claim(source, addrs)
	a.send(ctx, event{source: source, lookup: true, addrs: addrs, asking: mine, err: err})

	var wg sync.WaitGroup
	defer wg.Wait()
	for _, addr := range mine {
		if !a.acquire(ctx) {
			return
		}
		wg.Go(func() {
			v, err := a.g.fetch(ctx, source, addr)
			a.release()
			a.send(ctx, event{source: source, addr: addr, view: v, err: err})
		})
	}
}

func (a *asking) claim(source Endpoint, addrs []Endpoint) []Endpoint {
	a.mu.Lock()
	defer a.mu.Unlock()
	var mine []Endpoint
	for _, addr := range addrs {
		c := claim{addr: addr}
		if a.g.cfg.TLS != nil {
			c.name = source.Host
		}
		if !a.claimed[c] {
			a.claimed[c] = true
			mine = append(mine, addr)
		}
	}
	return mine
}

const maxHeaderBytes = 64 << 10

// fetch gets the gossip of the node at addr, to which source's name resolved.
func (g *Gossip) fetch(ctx context.Context, source, addr Endpoint) (*view, error) {
	fetchCtx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	v, err := g.get(fetchCtx, source, addr)
	if err != nil {
		return nil, timedOut(ctx, fetchCtx, g.cfg.Timeout, err)
	}
	return v, nil
}

// portAdvice is for servers that do not answer HTTP as they should.
const portAdvice = "the port must be the one for HTTP, 2113 by default; if the server expects HTTPS, set " +
	"GossipConfig.TLS, or gossipTLS=true in a connection string"

// get makes the request on a connection of its own, in the calling goroutine. An http.Client would use goroutines that
// outlive the request by a moment, and would not dial the given addr. get follows no redirect, which would send the
// credentials to another host.
func (g *Gossip) get(ctx context.Context, source, addr Endpoint) (*view, error) {
	raw, err := g.cfg.Dial(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn, err := g.secured(ctx, raw, source)
	if err != nil {
		return nil, err
	}
	req, err := g.request(ctx, source)
	if err != nil {
		return nil, err
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: conn, N: maxHeaderBytes}
	resp, err := http.ReadResponse(bufio.NewReader(limit), req)
	if err != nil {
		switch {
		case limit.N <= 0:
			return nil, fmt.Errorf("%w: more than %d bytes of header", ErrTooLarge, maxHeaderBytes)
		case g.cfg.TLS == nil:
			return nil, fmt.Errorf("no HTTP answer (%s): %w", portAdvice, err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusBadRequest && g.cfg.TLS == nil: // as some servers answer HTTP where HTTPS is due
		return nil, fmt.Errorf("%w (%s)", &StatusError{Code: resp.StatusCode}, portAdvice)
	case resp.StatusCode != http.StatusOK:
		return nil, &StatusError{Code: resp.StatusCode}
	}
	limit.N = math.MaxInt64 // the decoder has the limit for the body
	return g.decoder.decode(resp.Body)
}

// secured makes a TLS connection of raw, if TLS is configured. The certificate must be valid for the configured name,
// and not for its address.
func (g *Gossip) secured(ctx context.Context, raw net.Conn, source Endpoint) (net.Conn, error) {
	if g.cfg.TLS == nil {
		return raw, nil
	}
	cfg := g.cfg.TLS.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.RootCAs == nil && g.cfg.RootCAs != nil {
		cfg.RootCAs = g.cfg.RootCAs()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = strings.TrimSuffix(source.Host, ".")
	}
	conn := tls.Client(raw, cfg)
	return conn, conn.HandshakeContext(ctx)
}

func (g *Gossip) request(ctx context.Context, source Endpoint) (*http.Request, error) {
	u := url.URL{Scheme: "http", Host: source.String(), Path: "/gossip", RawQuery: "format=json"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("Accept", "application/json")
	if c := g.cfg.Credentials; c != nil {
		req.SetBasicAuth(c.Login, c.Password)
	}
	return req, nil
}
