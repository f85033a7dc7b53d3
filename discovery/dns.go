package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultLookupTimeout is the default of DNSConfig.Timeout.
const DefaultLookupTimeout = 3 * time.Second

// DNSConfig configures a [DNS].
type DNSConfig struct {
	// Name is the name to look up: a host name, or with SRV the full name of the records, such as
	// _eventstore._tcp.example.com.
	Name string
	// Port is the nodes' TCP port. SRV records have ports of their own. The default is [DefaultPort].
	Port int
	// SRV looks up SRV records instead of addresses. It applies their priorities and weights.
	SRV bool
	// Shuffle puts the addresses of each lookup into a random order. It has no effect on SRV records, which have
	// weights.
	Shuffle bool
	// Timeout bounds a lookup. The default is [DefaultLookupTimeout].
	Timeout time.Duration
	// Resolver does the lookups. The default is net.DefaultResolver.
	Resolver *net.Resolver
}

func (c *DNSConfig) setDefaults() {
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultLookupTimeout
	}
	c.Resolver = interruptible(c.Resolver)
}

// Validate returns the first invalid setting as a [*ConfigError].
func (c *DNSConfig) Validate() error {
	if err := (Endpoint{Host: c.Name}).Validate(); err != nil {
		return &ConfigError{Field: "Name", Reason: "cannot be looked up", Err: err}
	}
	if c.Port < 0 || c.Port > 1<<16-1 {
		return &ConfigError{Field: "Port", Reason: fmt.Sprintf("is not between 1 and 65535: %d", c.Port)}
	}
	if c.SRV && c.Shuffle {
		return &ConfigError{Field: "Shuffle", Reason: "does not go with SRV, whose records have priorities and weights"}
	}
	return checkPositive("Timeout", c.Timeout)
}

// DNS is a [Discoverer] for nodes behind a DNS name. It looks the name up in each attempt and returns the addresses in
// turn; addresses that failed a short time ago come last. If a lookup fails, and the name is not reported as missing,
// DNS uses the addresses of the last lookup. Create it with [NewDNS]. It is safe for concurrent use and needs no Close.
type DNS struct {
	cfg      DNSConfig
	rotation *rotation

	mu    sync.Mutex
	known []Endpoint // the result of the last lookup
}

// NewDNS returns a [DNS]. It looks nothing up yet. The error is a [*ConfigError].
func NewDNS(cfg DNSConfig) (*DNS, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	return &DNS{cfg: cfg, rotation: newRotation()}, nil
}

// Next looks the name up and returns the next node in turn. For addresses, Target.ServerName is the name.
func (d *DNS) Next(ctx context.Context) (Target, error) {
	list, err := d.lookup(ctx)
	if ctx.Err() != nil {
		return Target{}, &Error{Cause: context.Cause(ctx)}
	}
	if err != nil {
		if list = d.fallback(err); len(list) == 0 {
			asked := Endpoint{Host: d.cfg.Name}
			return Target{}, &Error{Reasons: []*CandidateError{{Step: StepLookup, Endpoint: asked, Err: err}}}
		}
	} else {
		d.mu.Lock()
		d.known = list
		d.mu.Unlock()
	}
	if d.cfg.SRV {
		return Target{Endpoint: d.rotation.pick(list, true)}, nil
	}
	if d.cfg.Shuffle {
		list = slices.Clone(list)
		shuffle(list)
	}
	return Target{Endpoint: d.rotation.pick(list, false), ServerName: strings.TrimSuffix(d.cfg.Name, ".")}, nil
}

// Report records a connection that was made or failed; see [Discoverer].
func (d *DNS) Report(endpoint Endpoint, err error) { d.rotation.report(endpoint, err) }

func (d *DNS) fallback(err error) []Endpoint {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound || errors.Is(err, ErrNoAddress) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known
}

func (d *DNS) lookup(ctx context.Context) ([]Endpoint, error) {
	if d.cfg.SRV {
		return d.lookupSRV(ctx)
	}
	return lookupAddresses(ctx, d.cfg.Resolver, Endpoint{Host: d.cfg.Name, Port: d.cfg.Port}, d.cfg.Timeout)
}

func (d *DNS) lookupSRV(ctx context.Context) ([]Endpoint, error) {
	lookupCtx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	_, records, err := d.cfg.Resolver.LookupSRV(lookupCtx, "", "", d.cfg.Name)
	var list []Endpoint
	for _, r := range records { // an error about some records may come with others that are valid
		e := Endpoint{Host: strings.TrimSuffix(r.Target, "."), Port: int(r.Port)}
		if e.Port != 0 && e.Validate() == nil {
			list = append(list, e)
		}
	}
	switch {
	case len(list) > 0:
		return list, nil
	case err != nil:
		return nil, timedOut(ctx, lookupCtx, d.cfg.Timeout, err)
	}
	return nil, ErrNoAddress
}
