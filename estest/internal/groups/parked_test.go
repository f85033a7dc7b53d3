package groups

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func TestAParkedEventTellsWhyAndWhen(t *testing.T) {
	s := newSite(t, newFacts)
	s.write("s", 2)
	b := s.join(s.group(nil), 10)
	b.nak(nakPark, "bad data", 1)
	parked := s.records(parkedOfG)
	require.Len(t, parked, 1)
	assert.Equal(t, eventlog.LinkType, parked[0].Type)
	assert.Equal(t, "1@s", string(parked[0].Data()))
	assert.JSONEq(t, `{
		"added": "2024-05-21T10:21:33Z", "reason": "Client explicitly NAK'ed message.\nbad data",
		"subscriptionEventNumber": 1
	}`, string(parked[0].Metadata()))
}

// For a link the group parks the target. For a link without a target it parks the link's own content.
func TestLinksAreParked(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.write("target", 3)
		s.link("s", "2@target", "7@target")
		b := s.join(s.group(func(c *Settings) { c.ResolveLinks = true }), 10)
		require.Equal(t, "0->2@target 1->gone", b.next())
		b.nak(nakPark, "", 0, 1)
		assert.Equal(t, []string{"2@target", "7@target"}, s.read(parkedOfG))
		var about struct{ SubscriptionEventNumber int64 }
		require.NoError(t, json.Unmarshal(s.records(parkedOfG)[1].Metadata(), &about))
		assert.EqualValues(t, 1, about.SubscriptionEventNumber, "the number of the link")

		b.group.ReplayParked(math.MaxInt64)
		want := "1->gone 0->2@target" // by the number of the event, if there is one
		if f.RetriesByOriginal {
			want = "0->2@target 1->gone"
		}
		assert.Equal(t, want, b.next(), "by the links in the parked stream")
	})
}

func TestParkedEventsAreReplayed(t *testing.T) {
	for name, test := range map[string]struct {
		stopAt int64
		want   string
		left   []string
	}{
		"none":     {0, "", []string{"0@s", "1@s", "2@s"}},
		"one":      {1, "0->0@s", []string{"1@s", "2@s"}},
		"all":      {math.MaxInt64, "0->0@s 1->1@s 2->2@s", nil},
		"just all": {3, "0->0@s 1->1@s 2->2@s", nil},
	} {
		t.Run(name, func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				s.write("s", 4)
				b := s.join(s.group(nil), 10)
				b.group.ReplayParked(test.stopAt) // nothing is parked yet
				b.nak(nakPark, "", 0, 1, 2)
				require.Equal(t, "0 1 2 3", b.next())
				b.group.ReplayParked(test.stopAt)
				assert.Equal(t, test.want, b.next())
				assert.Equal(t, test.left, s.read(parkedOfG))
				assert.Equal(t, test.stopAt == 0, s.log.Stream("$$"+parkedOfG) == nil, "the stream is truncated")
				assert.Equal(t, len(test.left), b.group.Counters().Parked)

				b.nak(nakPark, "again", 0)
				if test.want != "" {
					assert.Equal(t, append(test.left, "0@s"), s.read(parkedOfG), "the event, not the link to it")
				}
			})
		})
	}
}

// Whether replayed events come behind other retries depends on the version.
func TestTheOrderOfReplayedEvents(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{"by number": {oldFacts, "1->0@s 0->1@s 2+"}, "last, as parked": {newFacts, "2+ 0->1@s 1->0@s"}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			s.write("s", 3)
			g := s.group(nil)
			b := s.join(g, 3)
			b.nak(nakPark, "", 1, 0)
			s.set.Unsubscribe(b.id)
			g.ReplayParked(math.MaxInt64)
			assert.Equal(t, test.want, s.join(g, 10).next())
		})
	}
}

// From 21.10 on a replayed event that is retried goes behind the other replayed ones, even with a lower number.
func TestAReplayedEventIsRetried(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{"first version": {oldFacts, "0+->0@s"}, "last version": {newFacts, "1->1@s"}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			g := s.group(nil)
			b := s.join(g, 2)
			s.write("s", 2)
			b.nak(nakPark, "", 0, 1)
			s.set.Unsubscribe(b.id)
			g.ReplayParked(math.MaxInt64)
			next := s.join(g, 1)
			require.Equal(t, "0->0@s", next.next())
			next.nak(nakRetry, "", 0)
			assert.Equal(t, test.want, next.next())
		})
	}
}

// Replayed events do not count for checkpoints.
func TestReplayedEventsAreInNoCheckpoint(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		g := s.group(func(c *Settings) { c.CheckpointMax = 1 })
		b := s.join(g, 10)
		s.write("s", 2)
		b.nak(nakPark, "", 0)
		b.ack(1)
		require.EqualValues(t, 1, g.Counters().Checkpoint)
		written := s.log.LastNumber(checkpointOfG)
		g.ReplayParked(math.MaxInt64)
		b.ack(0)
		assert.EqualValues(t, 1, g.Counters().Checkpoint)
		assert.Equal(t, written, s.log.LastNumber(checkpointOfG))
	})
}
