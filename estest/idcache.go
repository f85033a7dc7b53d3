package estest

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// Limits of what a leader remembers.
const (
	maxCachedIDs  = 8 << 20 // bytes, by the server's own count
	cachedIDBytes = 28      // and two for each letter of the stream's name
)

// idCache is what a leader remembers of the events that it wrote: for each id the first stream and number that had it.
// It is what idempotency with the versions Any and StreamExists rests on, and is lost with the process.
type idCache struct {
	by    map[esproto.GUID]*record
	order queue[*record] // as they were written; nil for one whose id was known
	size  int
}

func cachedSize(r *record) int { return cachedIDBytes + 2*len(r.stream.name) }

// add counts an id again that it knows, as the server does: of a stream that repeats ids it remembers less.
func (c *idCache) add(r *record) {
	if c.by == nil {
		c.by = make(map[esproto.GUID]*record)
	}
	for c.size > maxCachedIDs && c.order.len() > 0 {
		if oldest := c.order.pop(); oldest != nil {
			c.size -= cachedSize(oldest)
			delete(c.by, oldest.id)
		}
	}
	c.size += cachedSize(r)
	if c.by[r.id] != nil {
		c.order.push(nil)
		return
	}
	c.by[r.id] = r
	c.order.push(r)
}

// lookup returns the event of stream s that had the id; nil if it is not known.
func (c *idCache) lookup(s *stream, id esproto.GUID) *record {
	if r := c.by[id]; r != nil && r.stream == s {
		return r
	}
	return nil
}

func (c *idCache) clear() { *c = idCache{} }
