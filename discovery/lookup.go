package discovery

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"
)

// interruptible returns a resolver like r, or like the default one, that ends its exchange with the name server when
// the lookup's context is cancelled. Go's own resolver looks at the deadline of a context only, so it would run for
// seconds after the caller has left.
func interruptible(r *net.Resolver) *net.Resolver {
	if r == nil {
		r = net.DefaultResolver
	}
	dial := r.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &net.Resolver{
		PreferGo:     r.PreferGo,
		StrictErrors: r.StrictErrors,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			c, err := dial(ctx, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { c.Close() }) // a deadline could be overwritten by the resolver's
			}
			return c, err
		},
	}
}

// lookupAddresses returns all addresses of e's host, which may be an address itself, with e's port.
func lookupAddresses(ctx context.Context, r *net.Resolver, e Endpoint, timeout time.Duration) ([]Endpoint, error) {
	if _, ok := e.addr(); ok {
		return []Endpoint{e}, nil
	}
	lookupCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addrs, err := r.LookupNetIP(lookupCtx, "ip", e.Host)
	if err != nil {
		return nil, timedOut(ctx, lookupCtx, timeout, err)
	}
	list := make([]Endpoint, 0, len(addrs))
	for _, a := range addrs {
		a = a.Unmap()
		if found := (Endpoint{Host: a.String(), Port: e.Port}); !slices.Contains(list, found) {
			list = append(list, found)
		}
	}
	if len(list) == 0 {
		return nil, ErrNoAddress
	}
	return list, nil
}

// timedOut replaces the error of a step that reached its own timeout, and not the end of the caller's context.
func timedOut(ctx, step context.Context, timeout time.Duration, err error) error {
	if deadline, ok := step.Deadline(); ok && !time.Now().Before(deadline) {
		<-step.Done() // a connection with the same deadline may end a moment earlier
	}
	if ctx.Err() == nil && errors.Is(step.Err(), context.DeadlineExceeded) {
		return &TimeoutError{After: timeout}
	}
	return err
}
