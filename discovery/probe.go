package discovery

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// maxProbes bounds the lookups and requests that one attempt has under way at a time.
const maxProbes = 16

// asking is the part of an attempt that looks up names and sends requests. It tells the round by events what comes of
// them.
type asking struct {
	g      *Gossip
	events chan event
	slots  chan struct{}

	mu      sync.Mutex
	claimed map[claim]bool
}

// claim keeps one address from being asked twice on account of two sources. With HTTPS the name matters, too: the
// certificate may be for one of them only.
type claim struct {
	addr Endpoint
	name string
}

// ask asks all sources. The channel is closed when nothing that was started is left, which the end of ctx hastens.
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

// ask looks the source up and asks each of its addresses. The slot of the lookup is given back before others are
// taken: if all waited for more while holding one, nobody would get any.
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

// fetch gets the gossip of the node at addr, which source's name led to.
func (g *Gossip) fetch(ctx context.Context, source, addr Endpoint) (*view, error) {
	fetchCtx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	v, err := g.get(fetchCtx, source, addr)
	if err != nil {
		return nil, timedOut(ctx, fetchCtx, g.cfg.Timeout, err)
	}
	return v, nil
}

func (g *Gossip) get(ctx context.Context, source, addr Endpoint) (*view, error) {
	scheme := "http"
	if g.cfg.TLS != nil {
		scheme = "https"
	}
	// The URL has the name, for the Host header and the certificate; the dialer has the address. A transport for each
	// request costs little, and leaves no idle connection and no goroutine behind.
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return g.cfg.Dial(ctx, network, addr.String())
		},
		TLSClientConfig:        g.cfg.TLS,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	defer transport.CloseIdleConnections()
	u := url.URL{Scheme: scheme, Host: source.String(), Path: "/gossip", RawQuery: "format=json"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if c := g.cfg.Credentials; c != nil {
		req.SetBasicAuth(c.Login, c.Password)
	}
	// RoundTrip follows no redirection: it would lead away from addr, and the credentials with it.
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{Code: resp.StatusCode}
	}
	return g.decoder.decode(resp.Body)
}
