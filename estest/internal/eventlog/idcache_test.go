package eventlog

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// TestTheLeaderRemembersTheLatestIDs compares the cache with a map and a list: random ids, ids that are
// counted up, and ids that come again.
func TestTheLeaderRemembersTheLatestIDs(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]func(i int) esproto.GUID{
		"random":  func(int) (id esproto.GUID) { binary.LittleEndian.PutUint64(id[3:], rand.Uint64()); return id },
		"counted": func(i int) (id esproto.GUID) { binary.LittleEndian.PutUint32(id[12:], uint32(i)); return id },
		"again": func(i int) (id esproto.GUID) {
			binary.LittleEndian.PutUint32(id[:], uint32(i*i%70_001))
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var (
				cache = new(idCache)
				a, b  = &Stream{Name: "orders"}, &Stream{Name: "payments"}
				known = make(map[esproto.GUID]*Record)
				order []*Record
				size  int
			)
			for i := range 300_000 {
				r := &Record{Stream: a, ID: id(i)}
				if i%3 == 0 {
					r.Stream = b
				}
				for size > maxCachedIDs && len(order) > 0 {
					if order[0] != nil {
						size -= cachedIDBytes + 2*len(order[0].Stream.Name)
						delete(known, order[0].ID)
					}
					order = order[1:]
				}
				size += cachedIDBytes + 2*len(r.Stream.Name)
				if known[r.ID] == nil {
					known[r.ID] = r
					order = append(order, r)
				} else {
					order = append(order, nil)
				}
				cache.add(r)

				asked := id(rand.IntN(i + 1))
				want := known[asked]
				if want != nil && want.Stream != a {
					want = nil
				}
				require.Same(t, want, cache.lookup(a, asked), "after %d", i)
			}
			assert.Equal(t, len(known), cache.n)
			for id, want := range known {
				require.Same(t, want, cache.lookup(want.Stream, id))
			}
			cache.clear()
			assert.Nil(t, cache.lookup(a, id(1)))
		})
	}
}
