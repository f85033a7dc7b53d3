package estest

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// maxCachedIDs is how many event ids a leader remembers: some 8 MiB at 28 bytes and twice the stream's name each.
const maxCachedIDs = 8 << 20 / 64

// idCache is what a leader remembers of the events that it wrote: for each id the first stream and number that had it.
// It is what idempotency with the versions Any and StreamExists rests on, and is lost with the process.
type idCache struct {
	by    map[esproto.GUID]*record
	order []esproto.GUID // a ring of the keys of by, once it is full
	next  int
}

func (c *idCache) add(r *record) {
	if c.by == nil {
		c.by = make(map[esproto.GUID]*record)
	}
	if known, ok := c.by[r.id]; ok {
		if known.stream == r.stream {
			c.by[r.id] = r // the newest number counts
		}
		return
	}
	if len(c.order) < maxCachedIDs {
		c.order = append(c.order, r.id)
	} else {
		delete(c.by, c.order[c.next])
		c.order[c.next] = r.id
		c.next = (c.next + 1) % maxCachedIDs
	}
	c.by[r.id] = r
}

// lookup returns the event of stream s that had the id; nil if it is not known.
func (c *idCache) lookup(s *stream, id esproto.GUID) *record {
	if r := c.by[id]; r != nil && r.stream == s {
		return r
	}
	return nil
}

func (c *idCache) clear() { *c = idCache{} }
