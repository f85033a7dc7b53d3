package groups

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"slices"
	"unicode/utf16"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

const pinnedBuckets = 1024

// pinned picks the same client for all events of a key. A hash puts keys into buckets, and each bucket has an owner.
type pinned struct {
	key     func(m *message) string
	clients []*Client
	owner   [pinnedBuckets]*Client
	load    [pinnedBuckets]int // events of the bucket that its owner has in flight
}

func (s *pinned) pick(m *message) (*Client, hindrance) {
	if !slices.ContainsFunc(s.clients, func(c *Client) bool { return c.Free() > 0 }) {
		return nil, allAreFull
	}
	bucket := pinnedHash(s.key(m)) % pinnedBuckets
	c := s.owner[bucket]
	if c == nil {
		c = s.leastBuckets()
		s.owner[bucket] = c
	}
	if c.Free() <= 0 {
		return nil, ownerIsFull
	}
	s.load[bucket]++
	m.bucket = bucket
	return c, 0
}

func (s *pinned) settled(c *Client, m *message) {
	if s.owner[m.bucket] == c {
		s.load[m.bucket]--
	}
}

func (s *pinned) count(c *Client) (n int) {
	for _, o := range &s.owner {
		if o == c {
			n++
		}
	}
	return n
}

func (s *pinned) leastBuckets() *Client {
	least, n := s.clients[0], s.count(s.clients[0])
	for _, c := range s.clients[1:] {
		if k := s.count(c); k < n {
			least, n = c, k
		}
	}
	return least
}

// join takes from each other client the buckets that it has above the new average, those with the fewest events first,
// and gives them to the new client.
func (s *pinned) join(c *Client) {
	var owned int
	for _, o := range s.clients {
		owned += s.count(o)
	}
	average := (owned + len(s.clients)) / (len(s.clients) + 1) // rounded up
	for _, o := range s.clients {
		surplus := s.count(o) - average
		if surplus <= 0 {
			continue
		}
		var buckets []int
		for b := range s.owner {
			if s.owner[b] == o {
				buckets = append(buckets, b)
			}
		}
		slices.SortStableFunc(buckets, func(a, b int) int { return s.load[a] - s.load[b] })
		for _, b := range buckets[:surplus] {
			s.owner[b] = c
		}
	}
	s.clients = append(s.clients, c)
}

func (s *pinned) leave(c *Client) {
	s.clients = without(s.clients, c)
	for b, o := range &s.owner {
		if o == c {
			s.owner[b], s.load[b] = nil, 0
		}
	}
}

// source returns the stream of the event itself, behind any links.
func (m *message) source() string {
	if m.event != nil && m.event.Type != eventlog.LinkType {
		return m.event.Stream.Name
	}
	r := m.original()
	if _, name, ok := bytes.Cut(r.Data(), []byte("@")); ok {
		return string(name)
	}
	return r.Stream.Name
}

// correlation returns the correlation id in the metadata of the event, or its source if there is none.
func (m *message) correlation() string {
	r := m.event
	if r == nil {
		r = m.link
	}
	var metadata struct {
		ID *string `json:"$correlationId"`
	}
	if json.Unmarshal(r.Metadata(), &metadata) != nil || metadata.ID == nil {
		return m.source()
	}
	return *metadata.ID
}

// pinnedHash is the server's hash of a name. It looks like xxHash but adds a rotated value where xxHash rotates.
func pinnedHash(key string) uint32 {
	var seed uint32 = 0xC58F1A7B // no constant: the arithmetic wraps
	const (
		p1 uint32 = 2654435761
		p2 uint32 = 2246822519
		p3 uint32 = 3266489917
		p4 uint32 = 668265263
		p5 uint32 = 0x165667B1
	)
	units := utf16.Encode([]rune(key))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = append(b, byte(u), byte(u>>8))
	}
	n := uint32(len(b))
	word := func(i int) uint32 { return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24 }
	if len(b) < 16 {
		idx, crc, i := seed+p1, p5, 0
		for ; len(b)-i > 4; i += 4 {
			crc += word(i) + idx
			idx++
			crc += bits.RotateLeft32(crc, 17) * p4
			crc *= p1
		}
		for ; i < len(b); i++ {
			crc += uint32(b[i]) + idx
			idx++
			crc *= p1
		}
		crc += n
		crc ^= crc >> 15
		crc *= p2
		crc ^= crc >> 13
		crc *= p3
		return crc ^ crc>>16
	}
	v := [4]uint32{}
	v[0] = seed + p1
	v[1] = v[0]*p2 + n
	v[2] = v[1] * p3
	v[3] = v[2] * p4
	turns := [4]int{13, 11, 17, 19}
	i := 0
	for ; i < len(b)-16; i += 16 {
		for k := range v {
			v[k] += bits.RotateLeft32(v[k], turns[k])
			v[k] *= p1
			v[k] += word(i + 4*k)
		}
	}
	first, second := [4]int{17, 19, 13, 11}, [4]int{11, 17, 19, 13}
	for k := range v {
		v[k] += bits.RotateLeft32(v[k], first[k])
		v[k] *= p1
		v[k] += word(len(b) - 16 + 4*k)
		v[k] *= p2
		v[k] += bits.RotateLeft32(v[k], second[k])
		v[k] *= p3
	}
	crc := v[0] + bits.RotateLeft32(v[1], 3) + bits.RotateLeft32(v[2], 6) + bits.RotateLeft32(v[3], 9)
	crc ^= crc >> 11
	crc += (p4 + n) * p1
	crc ^= crc >> 15
	crc *= p2
	return crc ^ crc>>13
}
