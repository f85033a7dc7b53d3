package groups

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// fill takes all slots of a client.
func fill(c *Client) { c.taken = c.allowed }

func TestStrategiesSayWhyNoClientGetsAMessage(t *testing.T) {
	for _, name := range []string{RoundRobin, DispatchToSingle, Pinned, PinnedByCorrelation} {
		t.Run(name, func(t *testing.T) {
			s := newStrategy(name)
			clients := []*Client{{allowed: 2}, {allowed: 2}}
			for _, c := range clients {
				s.join(c)
			}
			m := &message{event: &eventlog.Record{Stream: &eventlog.Stream{Name: "s"}}}
			first, _ := s.pick(m)
			require.Contains(t, clients, first)
			assert.Zero(t, first.taken, "to pick sends nothing")

			fill(first)
			second, why := s.pick(m)
			if name == Pinned || name == PinnedByCorrelation {
				assert.Nil(t, second, "the stream belongs to the first client")
				assert.Equal(t, ownerIsFull, why)
			} else {
				require.NotNil(t, second)
				assert.NotSame(t, first, second)
			}

			fill(clients[0])
			fill(clients[1])
			none, why := s.pick(m)
			assert.Nil(t, none)
			assert.Equal(t, allAreFull, why)
		})
	}
}

// The events are links to two streams, in turn, and their correlation ids are those of three conversations, in turn.
func TestWhoGetsWhichEvents(t *testing.T) {
	for _, test := range []struct {
		strategy string
		allowed  [2]int
		want     [2]string
	}{
		{RoundRobin, [2]int{10, 10}, [2]string{"0 2 4 6", "1 3 5 7"}},
		{RoundRobin, [2]int{1, 10}, [2]string{"0", "1 2 3 4 5 6 7"}},
		{DispatchToSingle, [2]int{10, 10}, [2]string{"0 1 2 3 4 5 6 7", ""}},
		{DispatchToSingle, [2]int{3, 4}, [2]string{"0 1 2", "3 4 5 6"}},
		{Pinned, [2]int{10, 10}, [2]string{"0 2 4 6", "1 3 5 7"}},
		{Pinned, [2]int{2, 10}, [2]string{"0 2", "1 3 5 7"}},
		{PinnedByCorrelation, [2]int{10, 10}, [2]string{"0 2 3 5 6", "1 4 7"}},
		{PinnedByCorrelation, [2]int{10, 1}, [2]string{"0 2 3 5 6", "1"}},
	} {
		t.Run(fmt.Sprintf("%s %v", test.strategy, test.allowed), func(t *testing.T) {
			s := newSite(t, newFacts)
			g := s.group(func(c *Settings) { c.Strategy, c.ResolveLinks = test.strategy, true })
			a, b := s.join(g, test.allowed[0]), s.join(g, test.allowed[1])
			for n := range 8 {
				stream := fmt.Sprintf("order-%d", n%2)
				metadata := fmt.Appendf(nil, `{"$correlationId":"talk-%d"}`, n%3)
				r := s.log.SystemAppend(stream, "T", true, []byte("{}"), metadata)
				s.link("s", fmt.Sprintf("%d@%s", r.Number, stream))
			}
			assert.Equal(t, test.want, [2]string{a.numbers(), b.numbers()})
		})
	}
}

// The events of a stream stay with the client that has it, also when another one comes or its own retry is due.
func TestAPinnedStreamStaysWithItsClient(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.Strategy = Pinned })
	a := s.join(g, 10)
	s.write("s", 2)
	b := s.join(g, 10)
	s.write("s", 2)
	a.nak(nakRetry, "", 1)
	assert.Equal(t, "0 1 2 3 1+", a.next())
	assert.Empty(t, b.next())
	s.set.Unsubscribe(a.id)
	assert.Equal(t, "0+ 1++ 2+ 3+", b.next(), "now it is the other one's")
}

// Events that wait for the client of their stream do not delay others, and keep their order.
func TestAPinnedStreamWaitsForItsClient(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.Strategy, c.ResolveLinks = Pinned, true })
	a, b := s.join(g, 1), s.join(g, 10)
	for n := range int64(8) {
		stream := fmt.Sprintf("order-%d", n%2)
		s.write(stream, 1)
		s.link("s", eventlog.LinkData(n/2, stream))
	}
	require.Equal(t, "1 3 5 7", b.numbers())
	for n := int64(0); n < 8; n += 2 {
		require.Equal(t, n, a.got[len(a.got)-1].link.Number)
		a.ack(n)
	}
	assert.Equal(t, "0 2 4 6", a.numbers())
}

// orders writes events to streams order-0 and on, so many to each, and links to them.
func (s *site) orders(counts ...int) {
	for n, count := range counts {
		stream := fmt.Sprintf("order-%d", n)
		for range count {
			s.write(stream, 1)
			s.link("s", eventlog.LinkData(s.log.LastNumber(stream), stream))
		}
	}
}

// A client that comes late gets the streams of which the others have the fewest events in flight.
func TestALateClientGetsTheIdleStreams(t *testing.T) {
	for name, test := range map[string]struct {
		counts []int
		ack    []int64
		want   string
	}{
		"fewer events, first":  {[]int{1, 1, 2, 2}, nil, "6 7"},
		"fewer events, last":   {[]int{2, 2, 1, 1}, nil, "8 9"},
		"acked events, first":  {[]int{1, 1, 1, 1}, []int64{0, 1}, "4 5"},
		"acked events, last":   {[]int{1, 1, 1, 1}, []int64{2, 3}, "6 7"},
		"acked events, apart":  {[]int{3, 1, 1, 3}, []int64{0, 1, 2, 5, 6, 7}, "8 11"},
		"events that are back": {[]int{1, 2, 2, 1}, []int64{1, 2, 3, 4}, "7 8"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, newFacts)
			g := s.group(func(c *Settings) { c.Strategy, c.ResolveLinks = Pinned, true })
			a := s.join(g, 100)
			s.orders(test.counts...)
			a.ack(test.ack...)
			b := s.join(g, 100)
			s.orders(1, 1, 1, 1)
			assert.Equal(t, test.want, b.numbers())
		})
	}
}

// What a client had that has left does not count for the next owner of its streams.
func TestTheStreamsOfAClientThatHasLeft(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.Strategy, c.ResolveLinks = Pinned, true })
	a := s.join(g, 100)
	s.orders(3, 1)
	s.set.Unsubscribe(a.id)
	b := s.join(g, 100)
	b.ack(0, 1, 2)
	c := s.join(g, 100)
	s.orders(1, 1)
	assert.Equal(t, "4", c.numbers(), "of the stream that is idle now")
}

// A client that comes late gets buckets that those before it have in excess.
func TestALateClientGetsItsShareOfThePinnedStreams(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.Strategy, c.ResolveLinks = Pinned, true })
	to := func(streams int) {
		for n := range streams {
			stream := fmt.Sprintf("order-%d", n)
			s.write(stream, 1)
			s.link("s", fmt.Sprintf("%d@%s", s.log.LastNumber(stream), stream))
		}
	}
	a := s.join(g, 100)
	to(10)
	require.Len(t, a.got, 10)
	b := s.join(g, 100)
	to(10)
	assert.Len(t, a.got, 15)
	assert.Len(t, b.got, 5)
}
