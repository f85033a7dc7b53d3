package groups

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func TestAGroupBeginsAtItsStart(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		for from, want := range map[int64]string{0: "0 1 2 3", 2: "2 3", 3: "3", -1: "3", 5: ""} {
			s := newSite(t, f)
			s.write("s", 3)
			g := s.group(func(c *Settings) { c.StartFrom = from })
			s.write("s", 1)
			assert.Equal(t, want, s.join(g, 10).next(), "from %d", from)
		}
	})
}

// The window of a client is how many events it may have.
func TestAClientGetsAsManyEventsAsItMayHave(t *testing.T) {
	for name, step := range map[string]struct {
		allowed int
		first   string
		acked   []int64
		then    string
	}{
		"none":      {0, "", nil, ""},
		"one":       {1, "0", []int64{0}, "1"},
		"some":      {3, "0 1 2", []int64{0, 2}, "3 4"},
		"no number": {2, "0 1", []int64{7}, ""},
		"all":       {9, "0 1 2 3 4", upTo(0, 4), ""},
	} {
		t.Run(name, func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				s.write("s", 5)
				b := s.join(s.group(nil), step.allowed)
				assert.Equal(t, step.first, b.next())
				b.ack(step.acked...)
				assert.Equal(t, step.then, b.next())
			})
		})
	}
}

// A group that falls behind reads on when acks make room, and becomes live again when it reaches the newest events.
func TestAGroupFallsBehindAndCatchesUp(t *testing.T) {
	for _, size := range []struct{ live, page, buffer int }{{10, 4, 10}, {1, 1, 2}, {3, 2, 100}, {500, 20, 21}} {
		t.Run(fmt.Sprintf("%+v", size), func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				g := s.group(func(c *Settings) {
					c.LiveBufferSize, c.ReadBatchSize, c.BufferSize = size.live, size.page, size.buffer
				})
				require.True(t, g.Counters().Live)
				const events = 200
				s.write("s", events)
				assert.Equal(t, events <= size.buffer, g.Counters().Live)
				assert.LessOrEqual(t, g.Counters().Waiting, size.buffer)
				assert.Equal(t, min(size.live, events), g.Counters().Newest)
				b := s.join(g, 7)
				for want := range int64(events) {
					d := b.got[want] // each ack has brought the next one
					require.Equal(t, want, d.event.Number)
					require.Zero(t, d.retries)
					b.ack(want)
				}
				assert.Len(t, b.got, events)
				s.write("s", 1)
				assert.True(t, g.Counters().Live)
				assert.Len(t, b.got, events+1)
			})
		})
	}
}

func TestAPageIsReadOnlyIfThereIsRoom(t *testing.T) {
	s := newSite(t, newFacts)
	s.write("s", 100)
	g := s.group(func(c *Settings) { c.ReadBatchSize, c.BufferSize = 10, 30 })
	assert.Equal(t, 20, g.Counters().Waiting, "room for more than a page is what makes it read one")
	assert.EqualValues(t, 19, g.Counters().LastSeen)
}

// Whether there is room for a further page is decided before one is dispatched: a client that could take more than the
// buffer holds gets it when it acks.
func TestAnAckBringsAPage(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.write("s", 100)
		b := s.join(s.group(func(c *Settings) { c.ReadBatchSize, c.BufferSize = 4, 8 }), 100)
		assert.Equal(t, "0 1 2 3", b.next())
		b.ack(0)
		assert.Equal(t, "4 5 6 7", b.next())
	})
}

// Retries take room in the buffer.
func TestNoPageIsReadWhileRetriesWait(t *testing.T) {
	s := newSite(t, newFacts)
	s.write("s", 100)
	g := s.group(func(c *Settings) { c.ReadBatchSize, c.BufferSize = 4, 10 })
	b := s.join(g, 8)
	require.Len(t, b.got, 8)
	s.set.Lost(connectionOf(b))
	require.Equal(t, 8, g.Counters().Retrying)
	next := s.join(g, 1)
	next.ack(0)
	assert.Zero(t, g.Counters().Waiting)
	next.ack(1)
	assert.Zero(t, g.Counters().Waiting)
	next.ack(2)
	assert.Equal(t, 4, g.Counters().Waiting, "there are 4 retries, and room for 6")
}

func TestAGroupTakesOnlySoManySubscribers(t *testing.T) {
	s := newSite(t, oldFacts)
	g := s.group(func(c *Settings) { c.MaxSubscribers = 2 })
	first := s.join(g, 1)
	assert.False(t, g.Full())
	s.join(g, 1)
	assert.True(t, g.Full())
	s.set.Unsubscribe(first.id)
	assert.False(t, g.Full())

	unlimited := newSite(t, oldFacts)
	g = unlimited.group(nil)
	for range 100 {
		unlimited.join(g, 1)
	}
	assert.False(t, g.Full())
}

// A client whose correlation id another one has is no client.
func TestASecondClientOfOneIDGetsNothing(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(nil)
	first := s.join(g, 1)
	second := &inbox{group: g, id: first.id}
	g.Join(second, second.id, "other", 10)
	s.write("s", 3)
	assert.Equal(t, "0", first.next())
	assert.Empty(t, second.next())
	assert.Equal(t, 1, g.Counters().Clients)
}

// The server waits for the first of two events with one id. Their ack frees one slot.
func TestTwoEventsOfOneID(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.MessageTimeout = 5 * time.Second })
	b := s.join(g, 3)
	s.write("s", 1)
	e := eventlog.Event{ID: b.got[0].event.ID, Type: "T", Data: []byte("twice")}
	s.log.Append(eventlog.System, "s", 0, []eventlog.Event{e})
	assert.Equal(t, "0 1", b.next())
	assert.Equal(t, 1, g.Counters().InFlight)
	b.ack(1)
	assert.Zero(t, g.Counters().InFlight)
	assert.Equal(t, 1, g.Clients()[0].InFlight(), "the slot of the second is taken until the client leaves")
	s.pass(time.Minute)
	assert.Empty(t, b.next())
}

// If an event of two with one id is to be delivered again, it is the first.
func TestTheFirstOfTwoEventsOfOneIDIsRetried(t *testing.T) {
	for name, retry := range map[string]func(s *site, b *inbox){
		"timeout": func(s *site, _ *inbox) { s.pass(5 * time.Second) },
		"nak":     func(_ *site, b *inbox) { b.nak(nakRetry, "", 1) },
		"lost":    func(s *site, b *inbox) { s.set.Lost(connectionOf(b)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, newFacts)
			g := s.group(func(c *Settings) { c.MessageTimeout = 5 * time.Second })
			b := s.join(g, 2)
			s.write("s", 1)
			s.log.Append(eventlog.System, "s", 0, []eventlog.Event{{ID: b.got[0].event.ID, Type: "T"}})
			require.Equal(t, "0 1", b.next())
			other := s.join(g, 10)
			retry(s, b)
			assert.Contains(t, []string{b.next(), other.next()}, "0+")
		})
	}
}

// From 5.0 on an ack frees the slots of all clients that have an event of the id.
func TestTheSlotsThatAnAckFrees(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		taken int
	}{"of the client": {oldFacts, 1}, "of all clients": {newFacts, 0}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			g := s.group(nil)
			a, b := s.join(g, 1), s.join(g, 1)
			s.write("s", 1)
			s.log.Append(eventlog.System, "s", 0, []eventlog.Event{{ID: a.got[0].event.ID, Type: "T"}})
			require.Equal(t, []string{"0", "1"}, []string{a.next(), b.next()})
			a.ack(0)
			clients := g.Clients()
			assert.Equal(t, []int{0, test.taken}, []int{clients[0].InFlight(), clients[1].InFlight()})
		})
	}
}

func TestLinks(t *testing.T) {
	for name, test := range map[string]struct {
		resolve bool
		live    bool
		want    string
	}{
		"read":               {resolve: true, want: "0->0@target 1->gone 2->gone 3->gone 4->0@target"},
		"pushed":             {resolve: true, live: true, want: "0->0@target 1->gone 2->gone 3->gone 4->0@target"},
		"read, unresolved":   {want: "0 1 2 3 4"},
		"pushed, unresolved": {live: true, want: "0 1 2 3 4"},
	} {
		t.Run(name, func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				s.write("target", 1)
				s.write("deleted", 1)
				s.deleteForGood("deleted")
				links := []string{"0@target", "1@target", "0@never", "0@deleted", "0@target"}
				var b *inbox
				resolved := func(c *Settings) { c.ResolveLinks = test.resolve }
				if test.live {
					b = s.join(s.group(resolved), 10)
					s.link("s", links...)
				} else {
					s.link("s", links...)
					b = s.join(s.group(resolved), 10)
				}
				assert.Equal(t, test.want, b.next())
				b.ack(upTo(0, 4)...)
				assert.Zero(t, b.group.Counters().InFlight, "the ack names the link, also that of a dead one")
			})
		})
	}
}

// A group of a stream that was deleted for good has nothing more to read.
func TestAGroupOfAStreamThatIsGone(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		drops int
	}{"first version": {oldFacts, 0}, "last version": {newFacts, 1}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			s.write("s", 20)
			g := s.group(func(c *Settings) { c.ReadBatchSize, c.BufferSize = 2, 5 })
			b := s.join(g, 1)
			s.deleteForGood("s")
			for n := range int64(10) {
				b.ack(n)
			}
			assert.Equal(t, test.drops, b.drops)
			late := s.join(g, 1)
			assert.Equal(t, test.drops, late.drops)
			assert.Empty(t, late.next())
		})
	}
}

func TestStatisticsOfAGroup(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.RecordStatistics = true })
	b := s.join(g, 3)
	s.write("s", 5)
	n := g.Counters()
	assert.Equal(t, []int{3, 2, 0}, []int{n.InFlight, n.Waiting, n.Retrying})
	assert.Equal(t, []int64{3, 4, -1}, []int64{n.Processed, n.LastSeen, n.Checkpoint})
	s.now = s.now.Add(1500 * time.Millisecond)
	b.ack(0)
	s.now = s.now.Add(500 * time.Millisecond)
	b.ack(1)
	c := g.Clients()[0]
	assert.Equal(t, []int64{1500, 2000}, c.Latencies())
	assert.Equal(t, "inbox", c.Peer().Connection)
	assert.Equal(t, []int64{5, 3, 0}, []int64{c.Total(), int64(c.InFlight()), int64(c.Free())})

	pushed, _ := g.Measure()
	assert.EqualValues(t, 5, pushed)
	b.ack(2, 3, 4)
	s.write("s", 2)
	s.now = s.now.Add(time.Second)
	pushed, perSecond := g.Measure()
	assert.EqualValues(t, 2, pushed)
	assert.InDelta(t, 2, perSecond, 0)
	pushed, _ = c.Measure()
	assert.EqualValues(t, 7, pushed, "since the client came")
}
