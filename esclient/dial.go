package esclient

import (
	"context"
	"crypto/tls"
	"net"
)

// dialer makes connections to the node that Config names or its Discoverer finds.
type dialer struct {
	cfg *Config
}

func newDialer(cfg *Config) (*dialer, error) { return &dialer{cfg: cfg}, nil }

func (d *dialer) dial(ctx context.Context, redirect string) (net.Conn, string, error) {
	address := redirect
	if address == "" {
		address, _ = parseAddress(d.cfg.Address)
	}
	nc, err := d.dialTo(ctx, address)
	return nc, address, err
}

func (d *dialer) dialTo(ctx context.Context, address string) (net.Conn, error) {
	dial := d.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	nc, err := dial(ctx, "tcp", address)
	if err != nil || d.cfg.TLS == nil {
		return nc, err
	}
	cfg := d.cfg.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}
