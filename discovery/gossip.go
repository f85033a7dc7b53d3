package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of [GossipConfig].
const (
	DefaultGossipPort    = 2113
	DefaultGossipTimeout = time.Second
	DefaultSettle        = 200 * time.Millisecond
	DefaultMaxBodyBytes  = 1 << 20
	DefaultHoldOff       = 250 * time.Millisecond
	DefaultMaxHoldOff    = 4 * time.Second
)

// GossipConfig configures a [Gossip]. A cluster without TLS needs only Seeds.
type GossipConfig struct {
	// Seeds are the HTTP endpoints to ask first, by name or address. At least one is needed. All addresses of a name
	// are asked. A port of 0 is [DefaultGossipPort]. The manager nodes of servers up to version 5 listen on 30778.
	Seeds []Endpoint

	// TLS, if not nil, selects HTTPS. The host of the seed or the member must be in the certificate, unless ServerName
	// or InsecureSkipVerify are set.
	TLS *tls.Config
	// RootCAs, if not nil, returns the authorities to trust, if TLS has none. Each request calls it. It must be safe
	// for concurrent use.
	RootCAs func() *x509.CertPool
	// SecureTCP selects the nodes' secure TCP endpoints. Set it if the TCP connection uses TLS. It is independent of
	// TLS: servers up to version 5 may use plain HTTP together with TLS over TCP, and later ones the reverse.
	SecureTCP bool
	// Credentials go with each request, as HTTP Basic authentication, to seeds and to learned members. The default is
	// none, which servers accept by default.
	Credentials *Credentials

	// Preference is the preferred kind of node. The default is [PreferLeader].
	Preference Preference
	// Select, if not nil, replaces Preference. It gets the members that can be dialed, at least one, in the order of
	// [PreferLeader], and returns the members to dial, the best first. It may keep and change the slice. One attempt
	// may call it several times, in the goroutine of Next.
	Select func(members []Member) []Member
	// Map, if not nil, turns an advertised endpoint, TCP or HTTP, into one that the client can reach, for clusters
	// behind NAT or in containers. It does not apply to Seeds. It must be safe for concurrent use.
	Map func(advertised Endpoint) Endpoint

	// Timeout bounds the lookup of each name and the request to each candidate. The default is [DefaultGossipTimeout].
	Timeout time.Duration
	// Settle is the time that other candidates have, after the first usable answer, to contradict it. An attempt does
	// not wait if all have answered. The default is [DefaultSettle].
	Settle time.Duration
	// MaxBodyBytes bounds an answer. The default is [DefaultMaxBodyBytes].
	MaxBodyBytes int64
	// HoldOff is the time for which a node is not dialed after a reported failure. It doubles with each further
	// failure, up to MaxHoldOff, and ends when gossip shows a restart of the node. The defaults are [DefaultHoldOff]
	// and [DefaultMaxHoldOff].
	HoldOff    time.Duration
	MaxHoldOff time.Duration

	// Resolver looks up the names of seeds and members. The default is net.DefaultResolver.
	Resolver *net.Resolver
	// Dial, if not nil, makes the TCP connections for the requests. It must return when its context ends, and be safe
	// for concurrent use. The address has an IP and a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Credentials are a login and a password for gossip. Printing them shows neither.
type Credentials struct {
	Login    string
	Password string
}

// String hides the password and the login.
func (Credentials) String() string { return "discovery.Credentials(hidden)" }

// GoString hides the password and the login.
func (c Credentials) GoString() string { return c.String() }

// Format hides the password and the login from every verb.
func (c Credentials) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, c.String()) }

// MarshalText hides the password and the login from JSON and from loggers.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c *GossipConfig) setDefaults() {
	c.Seeds = slices.Clone(c.Seeds)
	for i, e := range c.Seeds {
		c.Seeds[i] = e.WithDefaultPort(DefaultGossipPort)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.Timeout, DefaultGossipTimeout}, {&c.Settle, DefaultSettle}, {&c.HoldOff, DefaultHoldOff},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.MaxHoldOff == 0 {
		c.MaxHoldOff = max(DefaultMaxHoldOff, c.HoldOff)
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = DefaultMaxBodyBytes
	}
	c.Resolver = interruptible(c.Resolver)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
	}
}

// Validate returns the first invalid setting as a [*ConfigError]. Zero values mean defaults and are valid.
func (c *GossipConfig) Validate() error {
	if err := checkEndpoints("Seeds", c.Seeds); err != nil {
		return err
	}
	if !c.Preference.known() {
		return &ConfigError{Field: "Preference", Reason: fmt.Sprintf("is unknown: %v", c.Preference)}
	}
	if c.Select != nil && c.Preference != PreferLeader {
		return &ConfigError{Field: "Select", Reason: "is given together with a Preference: use one of them"}
	}
	if c.Credentials != nil && strings.ContainsRune(c.Credentials.Login, ':') {
		return &ConfigError{Field: "Credentials.Login", Reason: "has a colon, which Basic authentication cannot carry"}
	}
	for _, d := range []struct {
		field string
		v     time.Duration
	}{{"Timeout", c.Timeout}, {"Settle", c.Settle}, {"HoldOff", c.HoldOff}, {"MaxHoldOff", c.MaxHoldOff}} {
		if err := checkPositive(d.field, d.v); err != nil {
			return err
		}
	}
	if c.MaxHoldOff > 0 && c.MaxHoldOff < c.HoldOff {
		return &ConfigError{Field: "MaxHoldOff", Reason: fmt.Sprintf("is less than HoldOff: %v", c.MaxHoldOff)}
	}
	if c.MaxBodyBytes < 0 || c.MaxBodyBytes > maxMaxBodyBytes {
		return &ConfigError{
			Field: "MaxBodyBytes", Reason: fmt.Sprintf("is not between 0 and %d: %d", maxMaxBodyBytes, c.MaxBodyBytes),
		}
	}
	return nil
}

const maxMaxBodyBytes = 1 << 30

// Gossip is a [Discoverer] for clusters. Each attempt asks all seeds, and all members from earlier attempts, for their
// gossip at the same time, and merges the answers. A node's description of itself comes first, then the latest one. So
// a dead seed does no harm, and the answer of a node that lags, or that still lists a dead leader, is corrected by
// others.
//
// Create it with [NewGossip]. It is safe for concurrent use and needs no Close.
type Gossip struct {
	cfg     GossipConfig
	decoder decoder

	mu      sync.Mutex
	strikes strikes
	members []Member             // of the last attempt
	learned map[Endpoint]learned // HTTP endpoints to ask besides the seeds
}

// Format prints the seeds only: the fields contain credentials.
func (g *Gossip) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "discovery.Gossip%v", g.cfg.Seeds)
}

// learned describes a member's HTTP endpoint.
type learned struct {
	misses int  // attempts in a row in which no node named it
	direct bool // it has answered at this endpoint, so silence means that it is dead or cut off
}

const (
	maxLearned = 64
	// maxMisses is the number of attempts for which a member is kept after its last mention. It must survive the answer
	// of a node that has just started and knows no other, and end before another host gets the member's address.
	maxMisses = 10
)

// NewGossip returns a [Gossip]. It sends nothing yet. The error is a [*ConfigError].
func NewGossip(cfg GossipConfig) (*Gossip, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	return &Gossip{
		cfg:     cfg,
		decoder: decoder{secure: cfg.SecureTCP, mapping: cfg.Map, maxBytes: cfg.MaxBodyBytes},
		strikes: newStrikes(cfg.HoldOff, cfg.MaxHoldOff),
		learned: make(map[Endpoint]learned),
	}, nil
}

// Next asks the cluster once and returns the node to dial. It takes as long as the slowest node. After a usable answer
// it takes no longer than about Settle, and at most about twice Timeout if up to 16 addresses are silent.
func (g *Gossip) Next(ctx context.Context) (Target, error) {
	if ctx.Err() != nil {
		return Target{}, &Error{Cause: context.Cause(ctx)}
	}
	r := g.newRound()
	askCtx, cancel := context.WithCancel(ctx)
	events := g.ask(askCtx, r.sources)
	defer func() {
		cancel()
		for range events { // until all requests have ended
		}
	}()
	defer g.learn(r)
	var settle <-chan time.Time
	settled := false
	for {
		ended := false
		select {
		case ev, more := <-events:
			if more {
				r.take(ev)
			}
			ended = !more
		case <-settle:
			settled = true
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return Target{}, &Error{Reasons: r.failed, Cause: context.Cause(ctx)}
		}
		member, none := g.choose(r)
		switch {
		case none != nil && ended:
			return Target{}, none
		case none != nil:
		case ended, r.unanimous(), settled && !r.awaits(member):
			return Target{Endpoint: member.TCP, State: member.State, InstanceID: member.InstanceID}, nil
		case settle == nil:
			settle = time.After(g.cfg.Settle)
		}
	}
}

// Report records a connection that was made or failed; see [Discoverer].
func (g *Gossip) Report(endpoint Endpoint, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.strikes.clear(endpoint)
		return
	}
	instance := ""
	if i := slices.IndexFunc(g.members, func(m Member) bool { return m.TCP == endpoint }); i >= 0 {
		instance = g.members[i].InstanceID
	}
	g.strikes.add(endpoint, instance, err, time.Now())
}

// Members returns the nodes of the cluster as of the latest attempt, unordered; none before the first attempt.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// MapEndpoint applies GossipConfig.Map to an endpoint. Callers need it for endpoints that nodes advertise outside of
// gossip, such as a redirect to the leader.
func (g *Gossip) MapEndpoint(advertised Endpoint) Endpoint {
	if g.cfg.Map == nil {
		return advertised
	}
	return g.cfg.Map(advertised)
}

// newRound begins an attempt with the seeds and the learned members.
func (g *Gossip) newRound() *round {
	g.mu.Lock()
	defer g.mu.Unlock()
	var direct, others []Endpoint
	isDirect := make(map[Endpoint]bool)
	for e, l := range g.learned {
		if isDirect[e] = l.direct; l.direct {
			direct = append(direct, e)
		} else {
			others = append(others, e)
		}
	}
	for _, seed := range g.cfg.Seeds {
		if _, ok := g.learned[seed]; !ok {
			others = append(others, seed)
		}
	}
	// The number of requests at a time is bounded, so the nodes that are likely to answer come first.
	shuffle(direct)
	shuffle(others)
	return newRound(append(direct, others...), isDirect)
}

// learn keeps the result of the round, if a node answered.
func (g *Gossip) learn(r *round) {
	if len(r.members) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for e, l := range g.learned {
		if l.misses++; l.misses >= maxMisses {
			delete(g.learned, e)
		} else {
			g.learned[e] = l
		}
	}
	g.members = g.members[:0]
	for _, m := range r.members {
		g.members = append(g.members, m.Member)
		if m.HTTP.Port == 0 {
			continue
		}
		l, known := g.learned[m.HTTP]
		if !known && len(g.learned) >= maxLearned {
			continue
		}
		g.learned[m.HTTP] = learned{direct: l.direct || r.standing(m.HTTP) == answered}
	}
}
