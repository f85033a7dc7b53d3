package groups

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// The facts of the first and of the last version.
var (
	oldFacts = Facts{ConfigType: "PersistentConfig1", OnAllText: "Bad stream name."}
	newFacts = Facts{
		HasPinnedByCorrelation: true, ChecksGroupStart: true, ChecksGroupBuffers: true, ChecksSettingsFirst: true,
		ChangeChecksStream: true, ChangedGroupStays: true, AckFreesAllSlots: true, CountsDeliveries: true,
		RetriesByOriginal: true, ReplayedComeLast: true, ZeroTimeoutIsOver: true, LeavingAddsRetry: true,
		HardDeleteEndsGroup: true, CheckpointIsText: true, ConfigHasPosition: true, ConfigType: "$PersistentConfig",
		OnAllText: "Not over TCP.",
	}
)

// site is a log with groups and a clock that stands, without a server.
type site struct {
	t        *testing.T
	log      *eventlog.Log
	set      *Set
	now      time.Time
	minority bool
	made     uint32 // correlation ids
}

func newSite(t *testing.T, f Facts) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2024, 5, 21, 10, 21, 33, 0, time.UTC)}
	clock := func() time.Time { return s.now }
	s.log = eventlog.New(&eventlog.Facts{}, slog.New(slog.DiscardHandler), clock)
	s.set = NewSet(Config{
		Log: s.log, Facts: &f, Logger: slog.New(slog.DiscardHandler), Now: clock,
		Majority: func() bool { return !s.minority },
	})
	s.log.Observe(s.set.Observe)
	return s
}

// write appends n events to a stream.
func (s *site) write(stream string, n int) {
	for range n {
		s.log.SystemAppend(stream, "T", true, []byte("{}"), nil)
	}
}

// link appends links to a stream; their data are the targets.
func (s *site) link(stream string, data ...string) {
	for _, d := range data {
		s.log.SystemAppend(stream, eventlog.LinkType, false, []byte(d), nil)
	}
}

// deleteForGood deletes a stream so that it never comes back.
func (s *site) deleteForGood(stream string) {
	s.t.Helper()
	require.Zero(s.t, s.log.Delete(eventlog.System, stream, esproto.ExpectAny, true).Result)
}

// read returns the data of the visible events of a stream.
func (s *site) read(stream string) (data []string) {
	for _, r := range s.records(stream) {
		data = append(data, string(r.Data()))
	}
	return data
}

func (s *site) records(stream string) (recs []*eventlog.Record) {
	st := s.log.Stream(stream)
	if st == nil || st.SoftDeleted() || st.HardDeleted() {
		return nil
	}
	for n := st.First(); n <= st.Last(); n++ {
		if r := st.Visible(n, s.now); r != nil {
			recs = append(recs, r)
		}
	}
	return recs
}

// pass advances the time: the groups check the clock each second.
func (s *site) pass(d time.Duration) {
	for range d / time.Second {
		s.now = s.now.Add(time.Second)
		s.set.Tick()
	}
}

// usual are settings that leave room for everything and end nothing by time.
func usual() Settings {
	return Settings{
		MessageTimeout: time.Hour, LiveBufferSize: 500, ReadBatchSize: 20, BufferSize: 500, MaxRetryCount: 10,
		CheckpointAfter: 2 * time.Second, CheckpointMin: 10, CheckpointMax: 1000, Strategy: RoundRobin,
	}
}

// group makes the group g of stream s; change, which may be nil, changes the usual settings.
func (s *site) group(change func(c *Settings)) *Group {
	s.t.Helper()
	c := usual()
	if change != nil {
		change(&c)
	}
	result, why := s.set.Create("admin", "s", "g", c)
	require.Equal(s.t, Success, result, why)
	return s.set.Find("s", "g")
}

// delivery is an event that an inbox got.
type delivery struct {
	event, link *eventlog.Record
	retries     int
}

func (d *delivery) original() *eventlog.Record {
	if d.link != nil {
		return d.link
	}
	return d.event
}

// String is the number for an ack, with a + for each retry, and the target of a link.
func (d *delivery) String() string {
	text := strconv.FormatInt(d.original().Number, 10) + strings.Repeat("+", d.retries)
	switch {
	case d.link == nil:
		return text
	case d.event == nil:
		return text + "->gone"
	}
	return fmt.Sprintf("%s->%d@%s", text, d.event.Number, d.event.Stream.Name)
}

// inbox is a consumer that stores its events.
type inbox struct {
	group *Group
	id    esproto.CorrelationID
	got   []*delivery
	seen  int // of got
	drops int
}

func (b *inbox) Deliver(event, link *eventlog.Record, retries int) {
	b.got = append(b.got, &delivery{event, link, retries})
}

func (b *inbox) Drop() { b.drops++ }
func (b *inbox) Peer() Peer {
	return Peer{Address: "127.0.0.1:1", Login: "admin", Connection: "inbox"}
}

// join adds an inbox to a group.
func (s *site) join(g *Group, allowed int) *inbox {
	s.made++
	b := &inbox{group: g, id: esproto.CorrelationID{0: byte(s.made), 1: byte(s.made >> 8)}}
	g.Join(b, b.id, connectionOf(b), allowed)
	return b
}

func connectionOf(b *inbox) string { return b.id.String() }

// next returns the events since the last call.
func (b *inbox) next() string {
	texts := make([]string, 0, len(b.got))
	for _, d := range b.got[b.seen:] {
		texts = append(texts, d.String())
	}
	b.seen = len(b.got)
	return strings.Join(texts, " ")
}

// numbers are those of everything that has come.
func (b *inbox) numbers() string {
	texts := make([]string, len(b.got))
	for i, d := range b.got {
		texts[i] = strconv.FormatInt(d.original().Number, 10)
	}
	return strings.Join(texts, " ")
}

// ids are those of the events with these numbers, as the inbox got them last.
func (b *inbox) ids(numbers []int64) []esproto.GUID {
	ids := make([]esproto.GUID, len(numbers))
	for i, n := range numbers {
		for _, d := range slices.Backward(b.got) {
			if d.original().Number == n {
				ids[i] = d.original().ID
				break
			}
		}
	}
	return ids
}

func (b *inbox) ack(numbers ...int64) { b.group.Ack(b.ids(numbers), b.id) }

func (b *inbox) nak(action esproto.PersistentSubscriptionNakEvents_NakAction, reason string, numbers ...int64) {
	b.group.Nak(b.ids(numbers), b.id, action, reason)
}

// The actions of a nak.
const (
	nakUnknown = esproto.PersistentSubscriptionNakEvents_Unknown
	nakPark    = esproto.PersistentSubscriptionNakEvents_Park
	nakRetry   = esproto.PersistentSubscriptionNakEvents_Retry
	nakSkip    = esproto.PersistentSubscriptionNakEvents_Skip
	nakStop    = esproto.PersistentSubscriptionNakEvents_Stop
)

// Streams that the server writes about the group g of stream s.
const (
	parkedOfG     = "$persistentsubscription-s::g-parked"
	checkpointOfG = "$persistentsubscription-s::g-checkpoint"
)

// upTo are the numbers from first to last.
func upTo(first, last int64) (numbers []int64) {
	for n := first; n <= last; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

// bothFacts runs a test for the first and for the last version.
func bothFacts(t *testing.T, test func(t *testing.T, f Facts)) {
	t.Helper()
	t.Run("first version", func(t *testing.T) { test(t, oldFacts) })
	t.Run("last version", func(t *testing.T) { test(t, newFacts) })
}
