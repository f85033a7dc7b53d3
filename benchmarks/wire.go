package main

import (
	"context"
	"net"
	"sync/atomic"
)

// countedConn counts the write calls of a connection.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// dial connects with a count of the write calls.
func (m *meter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return countedConn{Conn: nc, writes: &m.writes}, nil
}
