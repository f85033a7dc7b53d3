package discovery_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer is a name server that Go's own resolver talks to over connections in memory.
type dnsServer struct {
	mu    sync.Mutex
	addrs map[string][]string // by name, with its final dot
	srv   map[string][]net.SRV
	fail  error         // of connecting to the server
	mute  bool          // take the question and say nothing
	asked chan struct{} // gets a value for each question, if not nil

	wg sync.WaitGroup
}

func newDNSServer(t *testing.T) *dnsServer {
	t.Helper()
	s := &dnsServer{addrs: make(map[string][]string), srv: make(map[string][]net.SRV)}
	t.Cleanup(s.stop)
	return s
}

// stop waits for the end of all connections.
func (s *dnsServer) stop() {
	s.set(func(s *dnsServer) { s.fail = net.ErrClosed })
	s.wg.Wait()
}

func (s *dnsServer) set(change func(*dnsServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fail != nil {
			return nil, s.fail
		}
		client, server := net.Pipe()
		s.wg.Go(func() { s.serve(server) })
		return client, nil
	}}
}

// serve answers one connection. A pipe is no packet connection, so messages have their length in front, as over TCP.
func (s *dnsServer) serve(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		if s.asked != nil {
			s.asked <- struct{}{}
		}
		if s.mute {
			continue
		}
		reply, err := s.answer(query)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// answer replies to a query that holds one question.
func (s *dnsServer) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	name := q.Name.String()

	s.mu.Lock()
	defer s.mu.Unlock()
	addrs, known := s.addrs[name]
	records, knownSRV := s.srv[name]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true},
		Questions: []dnsmessage.Question{q},
	}
	if !known && !knownSRV {
		reply.RCode = dnsmessage.RCodeNameError
	}
	add := func(body dnsmessage.ResourceBody) {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: h, Body: body})
	}
	switch q.Type {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		for _, a := range addrs {
			ip := netip.MustParseAddr(a)
			switch {
			case ip.Is4() && q.Type == dnsmessage.TypeA:
				add(&dnsmessage.AResource{A: ip.As4()})
			case ip.Is6() && q.Type == dnsmessage.TypeAAAA:
				add(&dnsmessage.AAAAResource{AAAA: ip.As16()})
			}
		}
	case dnsmessage.TypeSRV:
		for _, r := range records {
			target, err := dnsmessage.NewName(r.Target)
			if err != nil {
				return nil, err
			}
			add(&dnsmessage.SRVResource{Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: target})
		}
	}
	return reply.Pack()
}
