package eventlog

import (
	"encoding/binary"
	"math/bits"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/fifo"
)

// Limits of a leader's memory.
const (
	maxCachedIDs  = 8 << 20 // bytes, by the server's own count
	cachedIDBytes = 28      // and two for each letter of the stream's name
)

// idCache is a leader's memory of the events that it wrote: for each id the first stream and number that had it.
// Idempotency with the versions Any and StreamExists rests on it. It is lost with the process.
//
// Every append looks up its ids here three times if none is in the processor's caches. So it is a hash table of its
// own, with open addressing in small slots, and reads a record only if the id is likely to be equal.
type idCache struct {
	slots []idSlot // a power of two of them, a quarter of which is free
	n     int
	order fifo.Queue[cachedID] // as they were written
	first uint32               // number of the oldest in order; later ones are counted on from there
	size  int
}

// idSlot is a place in the table.
type idSlot struct {
	tag    uint32 // bits of the id's hash; 0 if the slot is free
	number uint32 // in order
}

type cachedID struct {
	r    *Record // nil if the id was known
	tag  uint32
	size uint32 // counts towards maxCachedIDs
}

func cachedSize(r *Record) uint32 { return uint32(cachedIDBytes + 2*len(r.Stream.Name)) }

// add counts an id again that it knows, as the server does: of a stream that repeats ids it remembers less.
func (c *idCache) add(r *Record) {
	for c.size > maxCachedIDs && c.order.Len() > 0 {
		if oldest := c.order.Dequeue(); oldest.r != nil {
			c.size -= int(oldest.size)
			c.remove(oldest.tag, c.first)
		}
		c.first++
	}
	if 4*c.n >= 3*len(c.slots) {
		c.grow()
	}
	added := cachedID{r: r, tag: tagOf(r.ID), size: cachedSize(r)}
	c.size += int(added.size)
	if i := c.find(added.tag, r.ID); c.slots[i].tag == 0 {
		c.slots[i] = idSlot{added.tag, c.first + uint32(c.order.Len())}
		c.n++
	} else {
		added = cachedID{}
	}
	c.order.Enqueue(added)
}

// lookup returns the event of stream s that had the id; nil if it is not known.
func (c *idCache) lookup(s *Stream, id esproto.GUID) *Record {
	if c.n == 0 {
		return nil
	}
	slot := c.slots[c.find(tagOf(id), id)]
	if slot.tag == 0 {
		return nil
	}
	if r := c.record(slot); r.Stream == s {
		return r
	}
	return nil
}

func (c *idCache) clear() { *c = idCache{} }

// tagOf mixes an id, as clients may count them up. It is never 0.
func tagOf(id esproto.GUID) uint32 {
	hi, lo := bits.Mul64(
		binary.LittleEndian.Uint64(id[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(id[8:])^0xd1b54a32d192ed03,
	)
	return uint32(hi^lo) | 1<<31
}

func (c *idCache) record(s idSlot) *Record { return c.order.At(int(s.number - c.first)).r }

// find returns the slot of an id, or the free slot for it.
func (c *idCache) find(tag uint32, id esproto.GUID) int {
	for i := c.home(tag); ; i = c.after(i) {
		if s := c.slots[i]; s.tag == 0 || s.tag == tag && c.record(s).ID == id {
			return i
		}
	}
}

// remove also moves entries that find would miss otherwise, since the slot before them is free.
func (c *idCache) remove(tag, number uint32) {
	free := c.home(tag)
	for c.slots[free].number != number {
		free = c.after(free)
	}
	c.n--
	for i := c.after(free); c.slots[i].tag != 0; i = c.after(i) {
		home := c.home(c.slots[i].tag)
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
		if s.tag == 0 {
			continue
		}
		i := c.home(s.tag)
		for c.slots[i].tag != 0 {
			i = c.after(i)
		}
		c.slots[i] = s
	}
}

func (c *idCache) home(tag uint32) int { return int(tag) & (len(c.slots) - 1) }

func (c *idCache) after(i int) int { return (i + 1) & (len(c.slots) - 1) }
