package discovery

import (
	"context"
	"math/rand/v2"
	"slices"
)

// DefaultPort is the port of a node's TCP API.
const DefaultPort = 1113

// StaticConfig configures a [Static].
type StaticConfig struct {
	// Endpoints are the TCP endpoints of the nodes. At least one is needed. A port of 0 is [DefaultPort].
	Endpoints []Endpoint
	// Shuffle puts the list into a random order once, so that many clients with the same list spread over the nodes.
	Shuffle bool
}

func (c *StaticConfig) setDefaults() {
	c.Endpoints = slices.Clone(c.Endpoints)
	for i, e := range c.Endpoints {
		c.Endpoints[i] = e.WithDefaultPort(DefaultPort)
	}
}

// Validate returns the first invalid setting as a [*ConfigError].
func (c *StaticConfig) Validate() error { return checkEndpoints("Endpoints", c.Endpoints) }

// Static is a [Discoverer] for a list of nodes. It returns them in turn; nodes that failed a short time ago come last.
// The dialer resolves names. Create it with [NewStatic]. It is safe for concurrent use and needs no Close.
type Static struct {
	endpoints []Endpoint
	rotation  *rotation
}

// NewStatic returns a [Static]. The error is a [*ConfigError].
func NewStatic(cfg StaticConfig) (*Static, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	if cfg.Shuffle {
		shuffle(cfg.Endpoints)
	}
	return &Static{endpoints: cfg.Endpoints, rotation: newRotation()}, nil
}

// Next returns the next endpoint in turn. It fails only if ctx has ended.
func (s *Static) Next(ctx context.Context) (Target, error) {
	if ctx.Err() != nil {
		return Target{}, &Error{Cause: context.Cause(ctx)}
	}
	return Target{Endpoint: s.rotation.pick(s.endpoints, false)}, nil
}

// Report records a connection that was made or failed; see [Discoverer].
func (s *Static) Report(endpoint Endpoint, err error) { s.rotation.report(endpoint, err) }

func shuffle[T any](list []T) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}
