package esclient_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// knownFrom reads n events of a stream, as a program does before it ends, and returns what it stores about the last
// one: in JSON, as in a file.
func knownFrom(t *testing.T, srv *estest.Server, stream, topic string, links bool, n int) esclient.KnownEvent {
	t.Helper()
	c := open(t, srv.ConnectionString())
	sub, err := c.SubscribeCatchUp(testContext(t), topic, esclient.CatchUpOptions{ResolveLinks: links})
	require.NoError(t, err)
	defer sub.Stop()
	var known esclient.KnownEvent
	for got := 0; got < n; {
		e, err := sub.Next(testContext(t))
		require.NoError(t, err)
		if e.Stream != stream {
			continue
		}
		got++
		var ok bool
		known, ok = e.KnownIn(topic)
		require.True(t, ok)
		at, _ := e.CheckpointIn(topic)
		assert.Equal(t, at, known.At)
		assert.Equal(t, e.Original().ID, known.ID)
	}
	stored, err := json.Marshal(known)
	require.NoError(t, err)
	var loaded esclient.KnownEvent
	require.NoError(t, json.Unmarshal(stored, &loaded))
	assert.Equal(t, known, loaded)
	return loaded
}

// TestAKnownEventTellsThatTheLogWasReplaced has a program that was not running while another log took the place of its
// own and grew beyond its checkpoint.
func TestAKnownEventTellsThatTheLogWasReplaced(t *testing.T) {
	t.Parallel()
	const seen, grown = 10, 40
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for what, kept := range map[string]int{"empty": 0, "an old backup": 7} {
			for _, topic := range []string{"s", esclient.AllStream} {
				for _, over := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/%s/starts over %v", persona, what, topic, over), func(t *testing.T) {
						t.Parallel()
						old := estest.Run(t, estest.WithPersona(persona))
						putNamed(t, old, "s", "old", 0, kept-1)
						backup := estest.Run(t, estest.WithPersona(persona), estest.WithSnapshot(old.Snapshot()))
						putNamed(t, old, "s", "old", kept, seen-1)
						known := knownFrom(t, old, "s", topic, false, seen)
						putNamed(t, backup, "s", "new", kept, grown-1)
						s := newStand(t, backup, "admin")
						sub, err := s.c.SubscribeCatchUp(testContext(t), topic, esclient.CatchUpOptions{
							Start: known.At.Start(), Known: known, StartOver: over,
						})
						require.NoError(t, err)
						defer sub.Stop()
						err = sub.Ready(testContext(t))
						if over {
							require.NoError(t, err)
							want := slices.Concat(named("old", 0, kept-1), named("new", kept, grown-1))
							assert.Equal(t, want, take(t, of("s", sub.Next), grown))
							_, wentBack, _ := s.log.count()
							assert.Equal(t, 1, wentBack)
							return
						}
						require.ErrorIs(t, err, esclient.ErrLogWentBack)
						var replaced *esclient.LogWentBackError
						require.ErrorAs(t, err, &replaced)
						assert.Equal(t, known.ID, replaced.KnownID)
						assert.ErrorContains(t, err, "has another event at")
						_, err = sub.Next(testContext(t))
						assert.ErrorIs(t, err, esclient.ErrLogWentBack)
					})
				}
			}
		}
	}
}

// TestAKnownEventOfTheSameLogChangesNothing has a subscription that goes on where the one before has ended.
func TestAKnownEventOfTheSameLogChangesNothing(t *testing.T) {
	t.Parallel()
	change := func(data string) func(*testing.T, *estest.Server) {
		return func(t *testing.T, srv *estest.Server) {
			_, err := srv.Append("$$s", estest.Event{Type: "$metadata", JSON: true, Data: []byte(data)})
			require.NoError(t, err)
		}
	}
	for what, change := range map[string]func(*testing.T, *estest.Server){
		"nothing":   func(*testing.T, *estest.Server) {},
		"restart":   func(t *testing.T, srv *estest.Server) { require.NoError(t, srv.Restart()) },
		"truncated": change(`{"$tb":10}`),
		"one left":  change(`{"$maxCount":1}`),
		"deleted": func(t *testing.T, srv *estest.Server) {
			_, err := open(t, srv.ConnectionString()).DeleteStream(testContext(t), "s", esclient.Any)
			require.NoError(t, err)
		},
	} {
		for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
			for _, topic := range []string{"s", esclient.AllStream} {
				t.Run(fmt.Sprintf("%s/%s/%s", what, persona, topic), func(t *testing.T) {
					t.Parallel()
					srv := estest.Run(t, estest.WithPersona(persona))
					putNamed(t, srv, "s", "e", 0, 9)
					known := knownFrom(t, srv, "s", topic, false, 10)
					change(t, srv)
					s := newStand(t, srv, "admin")
					require.NoError(t, s.c.Connect(testContext(t)))
					putNamed(t, srv, "s", "e", 10, 14)
					sub, err := s.c.SubscribeCatchUp(testContext(t), topic, esclient.CatchUpOptions{
						Start: known.At.Start(), Known: known,
					})
					require.NoError(t, err)
					defer sub.Stop()
					first := 10
					if what == "one left" && topic == "s" {
						first = 14
					}
					assert.Equal(t, named("e", first, 14), take(t, of("s", sub.Next), 15-first))
				})
			}
		}
	}
}

// TestAKnownLinkTellsThatTheLogWasReplaced has links of a projection, which are resolved.
func TestAKnownLinkTellsThatTheLogWasReplaced(t *testing.T) {
	t.Parallel()
	const topic = "$ce-order"
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			filled := func(n int) *estest.Server {
				srv := estest.Run(t, estest.WithPersona(persona), estest.WithProjections())
				for i := range n {
					putNamed(t, srv, fmt.Sprint("order-", i%3), "e", i, i)
				}
				require.NoError(t, srv.WaitForProjections(testContext(t)))
				return srv
			}
			old := filled(6)
			known := knownFrom(t, old, "order-2", topic, true, 2)
			assert.Equal(t, esclient.CheckpointAtNumber(5), known.At)
			opts := esclient.CatchUpOptions{Start: known.At.Start(), Known: known, ResolveLinks: true}
			goOn := func(srv *estest.Server) error {
				sub, err := open(t, srv.ConnectionString()).SubscribeCatchUp(testContext(t), topic, opts)
				require.NoError(t, err)
				defer sub.Stop()
				return sub.Ready(testContext(t))
			}
			assert.NoError(t, goOn(old))
			// The events have the ids of before, the links do not.
			assert.ErrorIs(t, goOn(filled(12)), esclient.ErrLogWentBack)
		})
	}
}

// TestAKnownEventThatIsGoneFromTheLogTellsByItsTime has a scavenged log: the next event is at the place of the known
// one. The log is another one if the event before that place was created later. The connection may end before the
// client has read that.
func TestAKnownEventThatIsGoneFromTheLogTellsByItsTime(t *testing.T) {
	t.Parallel()
	for _, later := range []bool{false, true} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("later %v, cut %v", later, cut), func(t *testing.T) {
				t.Parallel()
				testKnownEventThatIsGone(t, later, cut)
			})
		}
	}
}

func testKnownEventThatIsGone(t *testing.T, later, cut bool) {
	clock := estest.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	srv := estest.Run(t, estest.WithClock(clock))
	putNamed(t, srv, "s", "e", 0, 8)
	clock.Advance(time.Minute)
	putNamed(t, srv, "s", "e", 9, 9)
	known := knownFrom(t, srv, "s", esclient.AllStream, false, 10)
	putNamed(t, srv, "s", "e", 10, 12)
	if later {
		known.Created = esclient.TimestampOf(known.Created.Time().Add(-time.Hour))
	}
	looks := int32(1)
	if cut {
		looks = 2
		cuts := disconnectAt(srv, esproto.CmdReadAllEventsBackward, 2)
		defer func() { assert.EqualValues(t, 1, cuts.Load()) }()
	}
	var reads atomic.Int32
	srv.Intercept(esproto.CmdReadAllEventsForward, estest.Choose(func(estest.Request) (a estest.Action) {
		if read := reads.Add(1); read == 1 || read > 1+looks { // reads of the events to deliver
			return a
		}
		p, _ := known.At.Position()
		return estest.Reply(esproto.CmdReadAllEventsForwardCompleted, &esproto.ReadAllEventsCompleted{
			CommitPosition: proto.Int64(p.Commit), PreparePosition: proto.Int64(p.Prepare),
			NextCommitPosition: proto.Int64(p.Commit + 1), NextPreparePosition: proto.Int64(p.Prepare + 1),
			Result: esproto.ReadAllEventsCompleted_Success.Enum(),
		})
	}))
	sub, err := open(t, srv.ConnectionString()).SubscribeCatchUp(testContext(t), esclient.AllStream,
		esclient.CatchUpOptions{Start: known.At.Start(), Known: known})
	require.NoError(t, err)
	defer sub.Stop()
	if err = sub.Ready(testContext(t)); later {
		assert.ErrorIs(t, err, esclient.ErrLogWentBack)
		return
	}
	require.NoError(t, err)
	assert.Equal(t, named("e", 10, 12), take(t, of("s", sub.Next), 3))
	assert.Greater(t, reads.Load(), looks)
}

// TestALookForTheKnownEventSurvivesCuts has connections that end between the reads of one look.
func TestALookForTheKnownEventSurvivesCuts(t *testing.T) {
	t.Parallel()
	for _, cut := range []struct {
		cmd  esproto.Command
		read int32
	}{
		{esproto.CmdReadAllEventsForward, 1}, // the events to deliver
		{esproto.CmdReadAllEventsBackward, 1},
		{esproto.CmdReadAllEventsForward, 2},
	} {
		for _, replaced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v %d/replaced %v", cut.cmd, cut.read, replaced), func(t *testing.T) {
				t.Parallel()
				srv := estest.Run(t)
				putNamed(t, srv, "s", "e", 0, 9)
				known := knownFrom(t, srv, "s", esclient.AllStream, false, 10)
				putNamed(t, srv, "s", "e", 10, 14)
				if replaced {
					known.ID = uuid.New()
				}
				cuts := disconnectAt(srv, cut.cmd, cut.read)
				sub, err := open(t, srv.ConnectionString()).SubscribeCatchUp(testContext(t), esclient.AllStream,
					esclient.CatchUpOptions{Start: known.At.Start(), Known: known})
				require.NoError(t, err)
				defer sub.Stop()
				if err := sub.Ready(testContext(t)); replaced {
					assert.ErrorIs(t, err, esclient.ErrLogWentBack)
				} else {
					require.NoError(t, err)
					assert.Equal(t, named("e", 10, 14), take(t, of("s", sub.Next), 5))
				}
				assert.EqualValues(t, 1, cuts.Load())
			})
		}
	}
}

// disconnectAt makes a server end the connection at a request, counted from 1. It returns how often it did.
func disconnectAt(srv *estest.Server, cmd esproto.Command, nth int32) *atomic.Int32 {
	var seen, cuts atomic.Int32
	srv.Intercept(cmd, estest.Choose(func(estest.Request) (a estest.Action) {
		if seen.Add(1) == nth {
			cuts.Add(1)
			return estest.Disconnect()
		}
		return a
	}))
	return &cuts
}

// TestAFollowerTellsThatTheLogWasReplaced: a follower that lags has no event at the place, and not another one.
func TestAFollowerTellsThatTheLogWasReplaced(t *testing.T) {
	t.Parallel()
	old := estest.Run(t)
	putNamed(t, old, "s", "old", 0, 9)
	known := knownFrom(t, old, "s", "s", false, 10)
	cluster := runCluster(t)
	leader := cluster.Leader()
	putNamed(t, cluster.Node(leader), "s", "new", 0, 19)
	follower := cluster.Node((leader + 1) % cluster.Size())
	require.Eventually(t, func() bool {
		copied, err := follower.Read("s", 19, 1)
		return err == nil && len(copied) == 1
	}, patience, time.Millisecond)
	c, route := openClient(t, follower.ConnectionString(), func(cfg *esclient.Config) { cfg.AllowFollower = true })
	for lags, at := range map[bool]int64{false: 9, true: 30} {
		known.At = esclient.CheckpointAtNumber(at)
		sub, err := c.SubscribeCatchUp(testContext(t), "s",
			esclient.CatchUpOptions{Start: esclient.FromStart(), Known: known})
		require.NoError(t, err)
		defer sub.Stop()
		if err := sub.Ready(testContext(t)); lags {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, esclient.ErrLogWentBack)
		}
	}
	route.is(t, follower.Addr())
}

func TestAKnownEventThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	c := open(t, estest.Run(t).ConnectionString())
	id := uuid.New()
	position := esclient.CheckpointAtPosition(esclient.Position{Commit: 5, Prepare: 5})
	for _, tc := range []struct {
		stream string
		known  esclient.KnownEvent
	}{
		{"s", esclient.KnownEvent{At: esclient.CheckpointAtNumber(5)}},
		{"s", esclient.KnownEvent{ID: id}},
		{"s", esclient.KnownEvent{At: esclient.CheckpointAtNumber(-1), ID: id}},
		{"s", esclient.KnownEvent{At: esclient.CheckpointAtNumber(-7), ID: id}},
		{"s", esclient.KnownEvent{At: position, ID: id}},
		{esclient.AllStream, esclient.KnownEvent{At: esclient.CheckpointAtNumber(5), ID: id}},
		{esclient.AllStream, esclient.KnownEvent{
			At: esclient.CheckpointAtPosition(esclient.UnknownPosition), ID: id,
		}},
	} {
		_, err := c.SubscribeCatchUp(testContext(t), tc.stream, esclient.CatchUpOptions{Known: tc.known})
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument, "%v", tc)
		assert.ErrorContains(t, err, "CatchUpOptions.Known")
	}
	for _, e := range []esclient.Event{{Stream: "other", ID: id}, {Stream: "s"}} {
		_, ok := e.KnownIn("s")
		assert.False(t, ok)
	}
}
