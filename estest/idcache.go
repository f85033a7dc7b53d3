package estest

import (
	"encoding/binary"
	"math/bits"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Limits of what a leader remembers.
const (
	maxCachedIDs  = 8 << 20 // bytes, by the server's own count
	cachedIDBytes = 28      // and two for each letter of the stream's name
)

// idCache is what a leader remembers of the events that it wrote: for each id the first stream and number that had it.
// It is what idempotency with the versions Any and StreamExists rests on, and is lost with the process.
//
// Every append comes by here twice, so it is a hash table of its own: open addressing, with a bit of the hash beside
// each record, takes a third of the time of a map.
type idCache struct {
	slots []idSlot // a power of two of them, at least twice as many as are taken
	n     int
	order queue[*record] // as they were written; nil for one whose id was known
	size  int
}

type idSlot struct {
	hash uint64
	r    *record // nil if the slot is free
}

func cachedSize(r *record) int { return cachedIDBytes + 2*len(r.stream.name) }

// add counts an id again that it knows, as the server does: of a stream that repeats ids it remembers less.
func (c *idCache) add(r *record) {
	for c.size > maxCachedIDs && c.order.len() > 0 {
		if oldest := c.order.pop(); oldest != nil {
			c.size -= cachedSize(oldest)
			c.remove(oldest.id)
		}
	}
	c.size += cachedSize(r)
	if 2*c.n >= len(c.slots) {
		c.grow()
	}
	hash := hashOf(r.id)
	i := c.find(hash, r.id)
	if c.slots[i].r != nil {
		c.order.push(nil)
		return
	}
	c.slots[i] = idSlot{hash, r}
	c.n++
	c.order.push(r)
}

// lookup returns the event of stream s that had the id; nil if it is not known.
func (c *idCache) lookup(s *stream, id esproto.GUID) *record {
	if c.n == 0 {
		return nil
	}
	if r := c.slots[c.find(hashOf(id), id)].r; r != nil && r.stream == s {
		return r
	}
	return nil
}

func (c *idCache) clear() { *c = idCache{} }

// hashOf mixes an id: clients may count them up.
func hashOf(id esproto.GUID) uint64 {
	hi, lo := bits.Mul64(
		binary.LittleEndian.Uint64(id[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(id[8:])^0xd1b54a32d192ed03,
	)
	return hi ^ lo
}

// find returns where an id is, or where it would go.
func (c *idCache) find(hash uint64, id esproto.GUID) int {
	for i := c.home(hash); ; i = c.after(i) {
		if s := &c.slots[i]; s.r == nil || s.hash == hash && s.r.id == id {
			return i
		}
	}
}

// remove also moves what would not be found any more, as the slot before it is free.
func (c *idCache) remove(id esproto.GUID) {
	free := c.find(hashOf(id), id)
	c.n--
	for i := c.after(free); c.slots[i].r != nil; i = c.after(i) {
		home := c.home(c.slots[i].hash)
		if (i-home)&(len(c.slots)-1) >= (i-free)&(len(c.slots)-1) {
			c.slots[free] = c.slots[i]
			free = i
		}
	}
	c.slots[free] = idSlot{}
}

func (c *idCache) grow() {
	old := c.slots
	c.slots = make([]idSlot, max(2*len(old), 64))
	for _, s := range old {
		if s.r != nil {
			c.slots[c.find(s.hash, s.r.id)] = s
		}
	}
}

func (c *idCache) home(hash uint64) int { return int(hash & uint64(len(c.slots)-1)) }

func (c *idCache) after(i int) int { return (i + 1) & (len(c.slots) - 1) }
