package esclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/internal/authorities"
)

// dialer makes connections to the node that its Discoverer names.
type dialer struct {
	discover discovery.Discoverer
	tls      *tls.Config
	caFile   string
	trust    *authorities.File // nil without Config.TLSCAFile
	connect  func(ctx context.Context, network, address string) (net.Conn, error)
}

func newDialer(cfg *Config) (*dialer, error) {
	d := &dialer{discover: cfg.Discoverer, tls: cfg.TLS, caFile: cfg.TLSCAFile, connect: cfg.Dial}
	if d.connect == nil {
		d.connect = (&net.Dialer{}).DialContext
	}
	var err error
	if d.trust, err = authorities.Open(cfg.TLSCAFile, cfg.Logger); err != nil {
		return nil, caFileError("TLSCAFile", cfg.TLSCAFile, err)
	}
	switch {
	case d.discover != nil:
		return d, nil
	case cfg.Gossip != nil:
		return d, d.gossip(cfg)
	}
	endpoint, err := discovery.ParseEndpoint(cfg.Address)
	if err == nil {
		endpoint = endpoint.WithDefaultPort(DefaultPort)
		d.discover, err = discovery.NewStatic(discovery.StaticConfig{Endpoints: []discovery.Endpoint{endpoint}})
	}
	if err != nil {
		return nil, &ConfigError{
			Setting: "Address", Value: withoutUser(cfg.Address), Reason: "cannot be connected to", Err: err,
		}
	}
	return d, nil
}

func (d *dialer) gossip(cfg *Config) (err error) {
	gossip := *cfg.Gossip
	gossip.SecureTCP = cfg.TLS != nil
	if gossip.RootCAs == nil && cfg.TLSCAFile != "" {
		gossip.RootCAs = d.trust.Pool
	}
	if c := cfg.Credentials; c != nil && gossip.TLS != nil && gossip.Credentials == nil {
		gossip.Credentials = &discovery.Credentials{Login: c.Login, Password: c.Password}
	}
	if d.discover, err = discovery.NewGossip(gossip); err != nil {
		return &ConfigError{Setting: "Gossip", Reason: "cannot be used", Err: err}
	}
	return nil
}

// dial implements engine.Dialer.
func (d *dialer) dial(ctx context.Context, redirect string) (net.Conn, string, error) {
	target, err := d.target(ctx, redirect)
	if err != nil {
		return nil, "", err
	}
	address := target.Endpoint.String()
	nc, err := d.connect(ctx, "tcp", address)
	if err != nil || d.tls == nil {
		return nc, address, err
	}
	cfg := d.trust.Trusted(d.tls).Clone()
	if cfg.ServerName == "" {
		if cfg.ServerName = target.ServerName; cfg.ServerName == "" {
			cfg.ServerName = target.Endpoint.Host
		}
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		err = d.explainTLS(ctx, address, err)
		if problem := d.trust.Problem(); problem != nil {
			err = fmt.Errorf("%w; %w", err, caFileError("TLSCAFile", d.caFile, problem))
		}
		return nil, address, err
	}
	return tc, address, nil
}

// target returns the node to dial: the leader that another node named, or the result of the Discoverer. If the nodes of
// the cluster are known, the client dials no other one, since it would get the credentials.
func (d *dialer) target(ctx context.Context, redirect string) (discovery.Target, error) {
	if redirect == "" {
		return d.discover.Next(ctx)
	}
	e, err := discovery.ParseEndpoint(redirect)
	if err != nil {
		return discovery.Target{}, err
	}
	if m, ok := d.discover.(interface {
		MapEndpoint(advertised discovery.Endpoint) discovery.Endpoint
	}); ok {
		e = m.MapEndpoint(e)
	}
	if k, ok := d.discover.(membership); ok && !slices.ContainsFunc(k.Members(), func(m discovery.Member) bool {
		return m.TCP == e
	}) {
		return d.discover.Next(ctx)
	}
	return discovery.Target{Endpoint: e}, nil
}

// membership is a Discoverer that knows the nodes of the cluster.
type membership interface{ Members() []discovery.Member }

// report gives the Discoverer the result of a connection to an endpoint.
func (d *dialer) report(endpoint string, err error) {
	if e, perr := discovery.ParseEndpoint(endpoint); perr == nil {
		d.discover.Report(e, fromEngine(err))
	}
}

// checker returns a function that checks whether a node still belongs to its cluster; nil if the Discoverer cannot
// check that.
func (d *dialer) checker() func(ctx context.Context, endpoint string) error {
	c, ok := d.discover.(interface {
		Check(ctx context.Context, endpoint discovery.Endpoint) error
	})
	if !ok {
		return nil
	}
	return func(ctx context.Context, endpoint string) error {
		e, err := discovery.ParseEndpoint(endpoint)
		if err != nil {
			return nil //nolint:nilerr // the client dialed the node all the same, so it stays
		}
		return c.Check(ctx, e)
	}
}

// pause returns how long it is useless to ask the Discoverer again.
func (d *dialer) pause(err error) time.Duration {
	var e *discovery.Error
	if errors.As(err, &e) && !e.Transient() {
		return e.RetryAfter
	}
	return 0
}
