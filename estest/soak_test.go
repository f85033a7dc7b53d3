//go:build soak

package estest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestSoak makes random requests that are valid and holds the answers against a model of each stream, for 30 s or for
// as long as ESTEST_SOAK says: several clients at a time, and a restart of the server between rounds.
func TestSoak(t *testing.T) {
	length := 30 * time.Second
	if text := os.Getenv("ESTEST_SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) { soak(t, persona, length/2) })
	}
}

const (
	soakClients = 4
	soakRound   = 3 * time.Second
)

func soak(t *testing.T, persona estest.Persona, length time.Duration) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	// A machine that is busy with this is slow to answer heartbeats.
	s := estest.Run(t, estest.WithPersona(persona), estest.WithHeartbeat(time.Minute, time.Minute))
	var soakers [soakClients]*soaker
	for i := range soakers {
		soakers[i] = newSoaker(s, seed, i)
	}
	steps := 0
	for end := time.Now().Add(length); time.Now().Before(end); {
		t.Run("round", func(t *testing.T) {
			for _, k := range soakers {
				t.Run(k.name, func(t *testing.T) {
					t.Parallel()
					k.round(t, time.Now().Add(soakRound))
				})
			}
		})
		if t.Failed() {
			return
		}
		sound(t, s)
		require.NoError(t, s.Restart())
	}
	for _, k := range soakers {
		steps += k.steps
	}
	t.Logf("%d steps, %d restarts at most", steps, length/soakRound)
}

// soaker is a client with a model of its streams.
type soaker struct {
	s      *estest.Server
	rng    *rand.Rand
	name   string
	p      *peer
	steps  int
	made   int // streams ever begun
	model  []*modelStream
	worker *peer // the consumer of a group on a stream that is only written to

	sub     esproto.CorrelationID
	grouped bool
	written int64             // events of that stream
	held    map[string][]byte // delivered and neither acked nor given back
	acked   map[string]bool   // acks that the server has seen: these events must not come again
}

// modelStream is the expected content of a stream.
type modelStream struct {
	name    string
	ids     []string // by number
	before  int64    // earlier events are hidden
	deleted bool     // softly
	metas   int64    // events of the metadata stream
}

func newSoaker(s *estest.Server, seed uint64, n int) *soaker {
	return &soaker{s: s, rng: rand.New(rand.NewPCG(seed, uint64(n))), name: fmt.Sprint("soaker-", n)}
}

func (k *soaker) workStream() string { return k.name + "-work" }

// round works until a time, on new connections.
func (k *soaker) round(t *testing.T, until time.Time) {
	k.p = connectAs(t, k.s, admin)
	k.worker = connectAs(t, k.s, admin)
	k.held, k.acked = map[string][]byte{}, map[string]bool{}
	if !k.grouped {
		k.grouped = true
		k.p.group(k.workStream(), "g", func(m *esproto.CreatePersistentSubscription) {
			m.MessageTimeoutMilliseconds, m.BufferSize = proto.Int32(600_000), proto.Int32(50)
			m.MaxRetryCount, m.CheckpointMaxCount = proto.Int32(2), proto.Int32(7)
		})
	}
	k.sub = k.worker.joinWith(k.workStream(), "g", 20)
	for time.Now().Before(until) {
		k.step(t)
		k.steps++
	}
	require.NoError(t, k.p.nc.Close())
	require.NoError(t, k.worker.nc.Close())
}

func (k *soaker) step(t *testing.T) {
	for len(k.model) < 5 {
		k.model = append(k.model, &modelStream{name: fmt.Sprintf("%s-%d", k.name, k.made)})
		k.made++
	}
	i := k.rng.IntN(len(k.model))
	m := k.model[i]
	switch n := k.rng.IntN(100); {
	case n < 30:
		k.append(t, m)
	case n < 38:
		k.appendAgain(t, m)
	case n < 43:
		k.appendWrongly(t, m)
	case n < 60:
		k.readForward(t, m)
	case n < 70:
		k.readBackward(t, m)
	case n < 75:
		k.truncate(t, m)
	case n < 79:
		k.deleteSoftly(t, m)
	case n < 80:
		k.p.delete(m.name, true)
		require.Equal(t, esproto.OperationResult_StreamDeleted,
			k.p.append(nil, m.name, -2, newEvent("t", "")).GetResult())
		k.model = append(k.model[:i], k.model[i+1:]...)
	case n < 86:
		k.transaction(t, m)
	default:
		k.work(t)
	}
}

func (m *modelStream) last() int64 { return int64(len(m.ids)) - 1 }

func (k *soaker) events(n int) (events []*esproto.NewEvent, ids []string) {
	for range n {
		e := newEvent("t", "data")
		events, ids = append(events, e), append(ids, string(e.EventId))
	}
	return events, ids
}

// wrote notes that events were written. A deleted stream is there again from then on, without its old events.
func (m *modelStream) wrote(ids []string) {
	if m.deleted {
		m.deleted, m.before = false, int64(len(m.ids))
		m.metas++
	}
	m.ids = append(m.ids, ids...)
}

func (k *soaker) append(t *testing.T, m *modelStream) {
	events, ids := k.events(1 + k.rng.IntN(20))
	versions := []int64{esproto.ExpectAny, m.last()}
	if m.last() >= 0 && !m.deleted {
		versions = append(versions, esproto.ExpectStreamExists)
	}
	if m.deleted {
		versions = append(versions, esproto.ExpectNoStream)
	}
	r := k.p.append(nil, m.name, versions[k.rng.IntN(len(versions))], events...)
	require.Equal(t, esproto.OperationResult_Success, r.GetResult(), r.GetMessage())
	require.Equal(t, m.last()+1, r.GetFirstEventNumber())
	m.wrote(ids)
	require.Equal(t, m.last(), r.GetLastEventNumber())
}

// appendAgain repeats a part of an earlier write. With an explicit version the server always recognises it.
func (k *soaker) appendAgain(t *testing.T, m *modelStream) {
	if m.last() < 1 {
		return
	}
	first := k.rng.Int64N(m.last())
	last := first + k.rng.Int64N(m.last()-first)
	var events []*esproto.NewEvent
	for _, id := range m.ids[first : last+1] {
		events = append(events, &esproto.NewEvent{EventId: []byte(id), EventType: proto.String("t")})
	}
	r := k.p.append(nil, m.name, first-1, events...)
	require.Equal(t, esproto.OperationResult_Success, r.GetResult(), r.GetMessage())
	require.Equal(t, [2]int64{first, last}, [2]int64{r.GetFirstEventNumber(), r.GetLastEventNumber()})
}

func (k *soaker) appendWrongly(t *testing.T, m *modelStream) {
	events, _ := k.events(2)
	wrong := m.last() + 1 + k.rng.Int64N(5)
	if m.last() >= 1 && k.rng.IntN(2) == 0 {
		wrong = k.rng.Int64N(m.last()) // that of other events
	}
	r := k.p.append(nil, m.name, wrong, events...)
	require.Equal(t, esproto.OperationResult_WrongExpectedVersion, r.GetResult())
	require.Equal(t, m.last(), r.GetCurrentVersion())
}

func (k *soaker) readForward(t *testing.T, m *modelStream) {
	k.readPage(t, m, esproto.CmdReadStreamEventsForward, func(from, count int64) (numbers []int64) {
		for n := max(from, m.before); n < from+count && n <= m.last(); n++ {
			numbers = append(numbers, n)
		}
		return numbers
	})
}

func (k *soaker) readBackward(t *testing.T, m *modelStream) {
	k.readPage(t, m, esproto.CmdReadStreamEventsBackward, func(from, count int64) (numbers []int64) {
		for n := min(from, m.last()); n > from-count && n >= m.before; n-- {
			numbers = append(numbers, n)
		}
		return numbers
	})
}

func (k *soaker) readPage(t *testing.T, m *modelStream, cmd esproto.Command, window func(from, count int64) []int64) {
	from, count := k.rng.Int64N(m.last()+5), 1+k.rng.Int64N(50)
	r := k.p.readPage(cmd, nil, m.name, from, int32(count), false)
	require.Equal(t, m.last(), r.GetLastEventNumber())
	if m.last() < 0 || m.deleted {
		require.Equal(t, esproto.ReadStreamEventsCompleted_NoStream, r.GetResult())
		return
	}
	require.Equal(t, esproto.ReadStreamEventsCompleted_Success, r.GetResult())
	want := window(from, count)
	require.Len(t, r.GetEvents(), len(want))
	for i, e := range r.GetEvents() {
		require.Equal(t, want[i], e.GetEvent().GetEventNumber())
		require.Equal(t, m.ids[want[i]], string(e.GetEvent().GetEventId()))
	}
}

func (k *soaker) truncate(t *testing.T, m *modelStream) {
	if m.last() < 0 || m.deleted {
		return
	}
	m.before = k.rng.Int64N(m.last() + 2)
	r := k.p.append(nil, "$$"+m.name, m.metas-1, metadata(fmt.Sprintf(`{"$tb":%d}`, m.before)))
	require.Equal(t, esproto.OperationResult_Success, r.GetResult(), r.GetMessage())
	m.metas++
}

func (k *soaker) deleteSoftly(t *testing.T, m *modelStream) {
	if m.last() < 0 {
		return
	}
	k.p.delete(m.name, false)
	m.deleted = true
	m.metas++
}

func (k *soaker) transaction(t *testing.T, m *modelStream) {
	var start esproto.TransactionStartCompleted
	k.p.ask(esproto.CmdTransactionStart, nil, &esproto.TransactionStart{
		EventStreamId: &m.name, ExpectedVersion: proto.Int64(m.last())}, &start)
	var all []string
	for range k.rng.IntN(3) {
		events, ids := k.events(1 + k.rng.IntN(3))
		var r esproto.TransactionWriteCompleted
		k.p.ask(esproto.CmdTransactionWrite, nil,
			&esproto.TransactionWrite{TransactionId: start.TransactionId, Events: events}, &r)
		require.Equal(t, esproto.OperationResult_Success, r.GetResult())
		all = append(all, ids...)
	}
	first := m.last() + 1
	if m.deleted || len(all) > 0 {
		m.wrote(all)
	}
	for range 1 + k.rng.IntN(2) { // a commit may be repeated
		var r esproto.TransactionCommitCompleted
		k.p.ask(esproto.CmdTransactionCommit, nil, &esproto.TransactionCommit{TransactionId: start.TransactionId}, &r)
		require.Equal(t, esproto.OperationResult_Success, r.GetResult(), r.GetMessage())
		require.Equal(t, [2]int64{first, first + int64(len(all)) - 1},
			[2]int64{r.GetFirstEventNumber(), r.GetLastEventNumber()})
	}
}

// work writes to the group's stream, receives events, and picks an action at random for each event that it has.
func (k *soaker) work(t *testing.T) {
	events, _ := k.events(k.rng.IntN(10))
	if len(events) > 0 {
		r := k.p.append(nil, k.workStream(), k.written-1, events...)
		require.Equal(t, esproto.OperationResult_Success, r.GetResult(), r.GetMessage())
		k.written += int64(len(events))
	}
	k.takeDelivered(t)
	var settled []string
	for id, raw := range k.held {
		switch k.rng.IntN(6) {
		case 0:
			k.worker.nak(k.sub, k.workStream(), "g", esproto.PersistentSubscriptionNakEvents_Retry, raw)
		case 1:
			k.worker.nak(k.sub, k.workStream(), "g", esproto.PersistentSubscriptionNakEvents_Park, raw)
			settled = append(settled, id)
		case 2:
			continue // it stays as it is
		default:
			k.worker.ack(k.sub, k.workStream(), "g", raw)
			settled = append(settled, id)
		}
		delete(k.held, id)
	}
	k.takeDelivered(t) // events before the pong may have been on their way before
	for _, id := range settled {
		k.acked[id] = true
	}
}

// takeDelivered reads the events that the group has sent until now.
func (k *soaker) takeDelivered(t *testing.T) {
	ping := k.worker.send(esproto.CmdPing, nil, nil)
	for {
		r, ok := k.worker.next()
		require.True(t, ok, "the server has closed the connection")
		if r.id == ping {
			return
		}
		require.Equal(t, esproto.CmdPersistentSubscriptionStreamEventAppeared, r.cmd)
		var m esproto.PersistentSubscriptionStreamEventAppeared
		r.into(t, &m)
		id := string(originalID(&m))
		require.False(t, k.acked[id], "event %d was settled", m.GetEvent().GetEvent().GetEventNumber())
		require.NotContains(t, k.held, id, "event %d is held", m.GetEvent().GetEvent().GetEventNumber())
		require.LessOrEqual(t, m.GetRetryCount(), int32(2))
		k.held[id] = originalID(&m)
		require.LessOrEqual(t, len(k.held), 20)
	}
}
