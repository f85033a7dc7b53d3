package undertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// patience limits each call and each wait of this file.
const patience = 20 * time.Second

// AsAdmin returns a context for requests as an administrator of the server under test.
func AsAdmin(ctx context.Context) context.Context {
	admin := &esclient.Credentials{Login: "admin", Password: "changeit"}
	if server := Real(); server != "" {
		if cfg, err := esclient.ParseConnectionString(server); err == nil && cfg.Credentials != nil {
			admin = cfg.Credentials
		}
	}
	return esclient.WithCredentials(ctx, *admin)
}

// AsOps returns a context for requests as the built-in user ops, who is not an administrator.
func AsOps(ctx context.Context) context.Context {
	return esclient.WithCredentials(ctx, esclient.Credentials{Login: "ops", Password: "changeit"})
}

// Trusts reports whether the server under test accepts any credentials (--insecure). The embedded one never does, so a
// test of it cannot pass because it refuses nothing.
func Trusts(t testing.TB, c *esclient.Client) bool {
	t.Helper()
	if Real() == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.Ping(esclient.WithCredentials(ctx, esclient.Credentials{Login: "nobody", Password: "wrong"}))
	if err != nil && !errors.Is(err, esclient.ErrNotAuthenticated) {
		t.Fatal(err)
	}
	return err == nil
}

// NeedsRefusals skips a test of refusals on a server that accepts any credentials.
func NeedsRefusals(t testing.TB, c *esclient.Client) {
	t.Helper()
	if Trusts(t, c) {
		t.Skip("tests that wrong credentials are refused, and the server in " + ServerURL +
			" refuses none: it runs with --insecure")
	}
}

// Park makes a group park the next n events of its stream.
func Park(t testing.TB, c *esclient.Client, p *esclient.PersistentSubscription, stream, group string, n int) {
	t.Helper()
	before := len(ReadParked(t, c, stream, group))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range n {
		e, err := p.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Nack(esclient.NackPark, "no "+string(e.Data), e); err != nil {
			t.Fatal(err)
		}
	}
	for len(ReadParked(t, c, stream, group)) != before+n {
		if ctx.Err() != nil {
			t.Fatalf("not parked within %v", patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ReadParked returns the parked events of a group.
func ReadParked(t testing.TB, c *esclient.Client, stream, group string) (parked []esclient.ParkedEvent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for e, err := range c.ReadParked(AsAdmin(ctx), stream, group) {
		if err != nil {
			t.Fatal(err)
		}
		parked = append(parked, e)
	}
	return parked
}
