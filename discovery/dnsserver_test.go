package discovery_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// dnsServer is a name server that Go's own resolver talks to over connections in memory.
type dnsServer struct {
	mu    sync.Mutex
	addrs map[string][]string // by name, with its final dot
	srv   map[string][]net.SRV
	fail  error         // of connecting to the server
	mute  bool          // take the question and say nothing
	asked chan struct{} // told of each question, if not nil

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

const (
	typeA, typeAAAA, typeSRV = 1, 28, 33
	headerLength             = 12
)

func (s *dnsServer) answer(query []byte) ([]byte, error) {
	var labels []string
	at := headerLength
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil, errors.New("cut name")
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	if at+5 > len(query) {
		return nil, errors.New("cut question")
	}
	name, qtype := strings.Join(labels, ".")+".", binary.BigEndian.Uint16(query[at+1:])

	s.mu.Lock()
	defer s.mu.Unlock()
	addrs, known := s.addrs[name]
	records, knownSRV := s.srv[name]
	var answers [][]byte
	for _, a := range addrs {
		ip := netip.MustParseAddr(a)
		if ip.Is4() == (qtype == typeA) && qtype != typeSRV {
			answers = append(answers, ip.AsSlice())
		}
	}
	for _, r := range records {
		if qtype == typeSRV {
			data := binary.BigEndian.AppendUint16(nil, r.Priority)
			data = binary.BigEndian.AppendUint16(data, r.Weight)
			data = binary.BigEndian.AppendUint16(data, r.Port)
			answers = append(answers, appendName(data, r.Target))
		}
	}
	flags := uint16(0x8400) // an answer with authority
	if !known && !knownSRV {
		flags |= 3 // no such name
	}
	reply := append([]byte(nil), query[:2]...)
	reply = binary.BigEndian.AppendUint16(reply, flags)
	for _, count := range []int{1, len(answers), 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, uint16(count))
	}
	reply = append(reply, query[headerLength:at+5]...)
	for _, data := range answers {
		reply = append(reply, 0xc0, headerLength) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, qtype)
		reply = append(reply, 0, 1, 0, 0, 0, 60)
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(data)))
		reply = append(reply, data...)
	}
	return reply, nil
}

func appendName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0)
}
