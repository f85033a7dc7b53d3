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

// Defaults of GossipConfig.
const (
	DefaultGossipPort    = 2113
	DefaultGossipTimeout = time.Second
	DefaultSettle        = 200 * time.Millisecond
	DefaultMaxBodyBytes  = 1 << 20
	DefaultHoldOff       = 250 * time.Millisecond
	DefaultMaxHoldOff    = 4 * time.Second
)

// GossipConfig configures a Gossip. Seeds is all that is needed for a cluster without TLS.
type GossipConfig struct {
	// Seeds are the HTTP endpoints to ask first, by name or address. All addresses of a name are asked. A port of 0
	// is DefaultGossipPort; the manager nodes of servers up to version 5 listen on 30778. At least one seed is
	// needed.
	Seeds []Endpoint

	// TLS, if not nil, has gossip fetched over HTTPS. Certificates are verified for the host of the seed, or of the
	// member, unless ServerName or InsecureSkipVerify say otherwise.
	TLS *tls.Config
	// RootCAs, if not nil, is asked at each request for the authorities to trust, where TLS names none. It is called
	// from several goroutines at once.
	RootCAs func() *x509.CertPool
	// SecureTCP chooses the nodes' secure TCP endpoints. Set it if the TCP connection will use TLS. It does not
	// follow from TLS: servers up to version 5 may serve gossip over HTTP and yet TLS over TCP, and later ones the
	// reverse.
	SecureTCP bool
	// Credentials are sent with each request as HTTP Basic authentication, to seeds and to learned members. The
	// default is none, which servers accept unless they are told not to.
	Credentials *Credentials

	// Preference says which nodes to prefer; PreferLeader by default.
	Preference Preference
	// Select, if not nil, takes the place of Preference. It gets the members that could be dialed, at least one, in the
	// order of PreferLeader, and returns those to be dialed, the best first. It may keep and change the slice. It may
	// be called several times in an attempt, by the goroutine that called Next.
	Select func(members []Member) []Member
	// Map, if not nil, turns an advertised endpoint, TCP or HTTP, into one that can be reached from here, for
	// clusters behind NAT or in containers. It is not applied to Seeds. It is called from several goroutines at once.
	Map func(advertised Endpoint) Endpoint

	// Timeout bounds the lookup of each seed's name and the request to each candidate; DefaultGossipTimeout by
	// default.
	Timeout time.Duration
	// Settle is how long, after the first answer that would do, the other candidates may take to contradict it;
	// DefaultSettle by default. If all have answered, an attempt does not wait.
	Settle time.Duration
	// MaxBodyBytes bounds an answer; DefaultMaxBodyBytes by default.
	MaxBodyBytes int64
	// HoldOff is how long a node is not dialed after a connection to it failed, as reported. The time doubles with
	// each further failure, up to MaxHoldOff. The restart of the node, seen in gossip, ends it. The defaults are
	// DefaultHoldOff and DefaultMaxHoldOff.
	HoldOff    time.Duration
	MaxHoldOff time.Duration

	// Resolver looks up the names of seeds and members; net.DefaultResolver by default.
	Resolver *net.Resolver
	// Dial makes the TCP connections for the requests, if it is not nil. It must heed its context, and be safe for
	// concurrent use. The address has an IP and a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Credentials are a login and a password for gossip. They never show when printed.
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

// MarshalText hides the password and the login from JSON, and so from loggers.
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

// Validate reports the first setting that cannot be used, as a *ConfigError. Zero values, which stand for defaults,
// are fine.
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

// Gossip is a Discoverer for clusters: it asks the nodes who is there. Each attempt asks all seeds and all members
// that earlier attempts learned of, at the same time, and puts together what they say: what a node says of itself
// counts most, then what was said last. So a seed that is gone does no harm, and a node that lags behind, or still
// lists a dead leader, is outvoted where another one knows better.
//
// Create it with NewGossip; it is safe for concurrent use and needs no Close.
type Gossip struct {
	cfg     GossipConfig
	decoder decoder

	mu      sync.Mutex
	strikes strikes
	members []Member             // as the last attempt saw them
	learned map[Endpoint]learned // HTTP endpoints to ask besides the seeds
}

// Format prints the seeds, and not the fields, among which there are credentials.
func (g *Gossip) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "discovery.Gossip%v", g.cfg.Seeds)
}

// learned is what is known of a member's HTTP endpoint.
type learned struct {
	misses int  // how many attempts in a row did not hear of it
	direct bool // it has answered at this endpoint, so its silence means something
}

const (
	maxLearned = 64
	// maxMisses is how many attempts a member outlives its last mention: long enough to survive the answer of a node
	// that has just started and knows nobody, short enough not to ask strangers that got its address later.
	maxMisses = 10
)

// NewGossip returns a Gossip. It asks nobody yet. The error is a *ConfigError.
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

// Next asks the cluster once and returns the node to dial. It takes as long as the slowest node, but hardly longer
// than Settle if any node to dial is known, and at most about twice Timeout where up to 16 addresses are silent.
func (g *Gossip) Next(ctx context.Context) (Target, error) {
	if ctx.Err() != nil {
		return Target{}, &Error{Cause: context.Cause(ctx)}
	}
	r := g.newRound()
	askCtx, cancel := context.WithCancel(ctx)
	events := g.ask(askCtx, r.sources)
	defer func() {
		cancel()
		for range events { // until those who ask have ended
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

// Report takes note of a connection made, or failed; see Discoverer.
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

// Members returns the nodes of the cluster as the latest attempt saw them, in no order; none before the first.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// MapEndpoint returns what GossipConfig.Map makes of an advertised endpoint. Endpoints that nodes name otherwise than
// by gossip, as in a redirection to the leader, need the same treatment.
func (g *Gossip) MapEndpoint(advertised Endpoint) Endpoint {
	if g.cfg.Map == nil {
		return advertised
	}
	return g.cfg.Map(advertised)
}

// newRound begins an attempt with the seeds and what was learned.
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
	// The number of requests at a time is bounded, so those who are likely to answer are asked first.
	shuffle(direct)
	shuffle(others)
	return newRound(append(direct, others...), isDirect)
}

// learn keeps what the round found out, if anybody answered.
func (g *Gossip) learn(r *round) {
	if len(r.members) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for e, l := range g.learned {
		if l.misses++; l.misses > maxMisses {
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
