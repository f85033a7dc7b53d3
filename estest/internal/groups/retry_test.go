package groups

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestNaksByAction(t *testing.T) {
	for name, test := range map[string]struct {
		action esproto.PersistentSubscriptionNakEvents_NakAction
		again  string
		parked []string
	}{
		"unknown": {nakUnknown, "0+", nil},
		"park":    {nakPark, "", []string{"0@s"}},
		"retry":   {nakRetry, "0+", nil},
		"skip":    {nakSkip, "", nil},
		"stop":    {nakStop, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				s.write("s", 1)
				b := s.join(s.group(nil), 10)
				require.Equal(t, "0", b.next())
				b.nak(test.action, "why", 0)
				assert.Equal(t, test.again, b.next())
				assert.Equal(t, test.parked, s.read(parkedOfG))
				n := b.group.Counters()
				assert.Equal(t, len(test.parked), n.Parked)
				assert.Equal(t, test.again != "", n.InFlight == 1)
				assert.Zero(t, n.Retrying)
				b.nak(nakPark, "", 7) // it does not have that
				assert.Len(t, s.read(parkedOfG), len(test.parked))
			})
		})
	}
}

// Events that are retried come before new ones, in the order of their numbers, but a client must have room.
func TestRetriesComeFirst(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.write("s", 6)
		b := s.join(s.group(nil), 3)
		require.Equal(t, "0 1 2", b.next())
		b.nak(nakRetry, "", 2, 0)
		assert.Equal(t, "0+ 2+", b.next())
		b.ack(1)
		assert.Equal(t, "3", b.next())
		b.nak(nakRetry, "", 0, 3)
		assert.Equal(t, "0++ 3+", b.next())
	})
}

func TestAnEventIsParkedWhenItWasRetriedTooOften(t *testing.T) {
	for name, test := range map[string]struct {
		retries int
		want    string
	}{"never retried": {0, "0"}, "once": {1, "0 0+"}, "three times": {3, "0 0+ 0++ 0+++"}} {
		t.Run(name, func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				b := s.join(s.group(func(c *Settings) { c.MaxRetryCount = test.retries }), 1)
				s.write("s", 2)
				for range test.retries + 1 {
					b.nak(nakRetry, "", 0)
				}
				assert.Equal(t, test.want+" 1", b.next(), "and then the next event")
				assert.Equal(t, []string{"0@s"}, s.read(parkedOfG))
			})
		})
	}
}

func TestAnEventIsRetriedWhenItsTimeIsOver(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		b := s.join(s.group(func(c *Settings) { c.MessageTimeout, c.MaxRetryCount = 5*time.Second, 2 }), 2)
		s.write("s", 1)
		s.pass(2 * time.Second)
		s.write("s", 1)
		s.pass(2 * time.Second)
		require.Equal(t, "0 1", b.next())
		s.pass(time.Second)
		assert.Equal(t, "0+", b.next())
		s.pass(2 * time.Second)
		assert.Equal(t, "1+", b.next())
		b.ack(1)
		s.pass(3 * time.Second)
		assert.Equal(t, "0++", b.next())
		s.pass(5 * time.Second)
		assert.Empty(t, b.next())
		assert.Equal(t, []string{"0@s"}, s.read(parkedOfG))
		assert.Contains(t, string(s.records(parkedOfG)[0].Metadata()), `"reason":"Reached retry count of 2"`)
		assert.Zero(t, b.group.Counters().InFlight)
	})
}

// Events whose time is over together are dealt with in their order.
func TestEventsTimeOutInTheirOrder(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.join(s.group(func(c *Settings) { c.MessageTimeout, c.MaxRetryCount = time.Second, 0 }), 100)
		var want []string
		for n := range 30 {
			s.write("s", 1)
			want = append(want, fmt.Sprintf("%d@s", n))
		}
		s.pass(time.Second)
		assert.Equal(t, want, s.read(parkedOfG))
	})
}

func TestATimeoutOfZero(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{"is none": {oldFacts, "0"}, "is over": {newFacts, "0 0+ 0++ 0+++"}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			b := s.join(s.group(func(c *Settings) { c.MessageTimeout = 0 }), 10)
			s.write("s", 1)
			s.pass(3 * time.Second)
			assert.Equal(t, test.want, b.next())
		})
	}
}

// A client that leaves gives back its events. The next client gets them in the order of their numbers.
func TestAClientLeavesWithEventsInFlight(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{
		"one retry": {oldFacts, "0+ 1+ 2+"},
		"one more":  {newFacts, "0++ 1+ 2+"},
	} {
		for how, leave := range map[string]func(s *site, b *inbox){
			"unsubscribed": func(s *site, b *inbox) { s.set.Unsubscribe(b.id) },
			"lost":         func(s *site, b *inbox) { s.set.Lost(connectionOf(b)) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				s := newSite(t, test.facts)
				g := s.group(nil)
				b := s.join(g, 3)
				s.write("s", 4)
				b.nak(nakRetry, "", 0)
				leave(s, b)
				assert.Equal(t, how == "unsubscribed", b.drops == 1, "only an open connection gets the drop")
				assert.Equal(t, 3, g.Counters().Retrying)
				assert.Zero(t, g.Counters().InFlight)
				assert.Zero(t, g.Counters().Clients)
				next := s.join(g, 10)
				assert.Equal(t, test.want+" 3", next.next())
				b.ack(0, 1, 2) // the ack of a client that has left still counts
				assert.Equal(t, 1, g.Counters().InFlight)
			})
		}
	}
}

// From 20.6 on the events of a lost client may have had too many retries: the first of them is parked, and later events
// wait for their timeout.
func TestALostClientHadEventsThatWereRetriedTooOften(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.MaxRetryCount, c.MessageTimeout = 1, 10*time.Second })
	b := s.join(g, 100)
	s.write("s", 30)
	b.nak(nakRetry, "", upTo(1, 20)...)
	s.set.Lost(connectionOf(b))
	next := s.join(g, 100)
	assert.Equal(t, "0+", next.next())
	assert.Equal(t, []string{"1@s"}, s.read(parkedOfG))
	assert.Equal(t, 29, g.Counters().InFlight, "the one that was delivered again, and events without a client")
	s.pass(10 * time.Second)
	assert.Len(t, s.read(parkedOfG), 21)
	assert.Equal(t, "21+ 22+ 23+ 24+ 25+ 26+ 27+ 28+ 29+", next.next())
}

// Several clients of one connection leave at once.
func TestAConnectionIsLostWithAllItsClients(t *testing.T) {
	s := newSite(t, oldFacts)
	g := s.group(nil)
	a, b := &inbox{group: g, id: esproto.CorrelationID{1}}, &inbox{group: g, id: esproto.CorrelationID{2}}
	g.Join(a, a.id, "one", 2)
	g.Join(b, b.id, "one", 2)
	s.write("s", 4)
	s.set.Lost("another")
	assert.Equal(t, 2, g.Counters().Clients)
	s.set.Lost("one")
	assert.Zero(t, g.Counters().Clients)
	assert.Equal(t, "0+ 1+ 2+ 3+", s.join(g, 10).next())
}

// A leader without a majority parks nothing: an event that was retried too often stays in flight until then.
func TestWithoutAMajorityNothingIsParked(t *testing.T) {
	s := newSite(t, newFacts)
	b := s.join(s.group(func(c *Settings) { c.MaxRetryCount, c.MessageTimeout = 0, time.Second }), 1)
	s.write("s", 1)
	s.minority = true
	s.pass(5 * time.Second)
	assert.Equal(t, "0", b.next())
	assert.Empty(t, s.read(parkedOfG))
	assert.Equal(t, 1, b.group.Counters().InFlight)
	s.minority = false
	s.pass(time.Second)
	assert.Equal(t, []string{"0@s"}, s.read(parkedOfG))
	assert.Zero(t, b.group.Counters().InFlight)
}
