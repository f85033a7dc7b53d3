package chaos

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// model is a read model: subscriptions with one name, one after the other, that go on from its checkpoint.
type model struct {
	w       *world
	name    string
	topic   string
	from    func(stream string) bool          // selects the streams if the topic is $all
	key     func(*message.Message) string     // returns the key whose messages stay in order
	handle  func(r *rand.Rand) decision       // park stands for skip
	cfg     eventstore.SubscriberConfig       // of all its processes
	open    func(*esclient.Client) modelStore // the store as a new process opens it
	fenced  bool                              // the store takes the name away from earlier processes
	s       setting
	link    *link
	ends    chan ending
	rest    chan struct{} // takes a token while a process runs and no end is under way
	crashed *process      // the latest one that has crashed

	mu      sync.Mutex
	rand    *rand.Rand
	clock   int                         // counts events of the test
	settled map[esclient.Checkpoint]int // by place: when a message was first settled
	saves   []save
	tried   map[esclient.Checkpoint]bool // places of attempted saves
	saved   esclient.Checkpoint          // the latest that a process knows to be saved
	refuse  int                          // how many of the next calls of Save fail
	asked   *process                     // the latest that has called Load
	owner   *process                     // the latest whose Load succeeded
}

// save is an attempt to save a checkpoint.
type save struct {
	at   esclient.Checkpoint
	when int
}

// ending is how a process of a read model ends.
type ending string

const (
	closed    ending = "closed"
	crashed   ending = "crashed" // not closed; nothing that it does has an effect any more
	overtaken ending = "taken over"
)

func (w *world) newModel(m *model) {
	m.w, m.link, m.ends, m.rest = w, newLink(), make(chan ending, 1), make(chan struct{})
	w.links = append(w.links, m.link)
	m.rand = rand.New(rand.NewPCG(w.seed, uint64(len(w.models))+200))
	m.settled, m.tried = make(map[esclient.Checkpoint]int), make(map[esclient.Checkpoint]bool)
	m.cfg.Mode, m.cfg.SubscriberName = eventstore.ModeCatchUp, m.name
	m.cfg.CheckpointAfter, m.cfg.CheckpointMaxCount = 50*time.Millisecond, 50
	m.cfg.CheckpointTimeout = loadTimeout
	m.cfg.NackDelay, m.cfg.AckGrace = time.Millisecond, 10*time.Second
	if m.key == nil {
		m.key = func(*message.Message) string { return "" }
	}
	m.cfg.Key = m.key
	w.models = append(w.models, m)
	w.wg.Go(m.live)
}

// loadTimeout is how long a process tries to load the checkpoint, and to save it at its end.
const loadTimeout = 2 * time.Second

func (w *world) startModels(s setting) {
	files := w.t.TempDir()
	inStream := func(c *esclient.Client) modelStore {
		store, err := eventstore.NewStreamCheckpoints(c, "")
		require.NoError(w.t, err)
		return modelStore{store, func() {}}
	}
	inFile := func(*esclient.Client) modelStore {
		store, err := eventstore.NewFileCheckpoints(files)
		require.NoError(w.t, err)
		return modelStore{store, func() { require.NoError(w.t, store.Close()) }}
	}
	fickle := func(r *rand.Rand) decision {
		switch n := r.IntN(100); {
		case n < 5:
			return nack
		case n < 6:
			return park
		}
		return ack
	}
	w.newModel(&model{name: "in a file", topic: "orders", s: s, open: inFile, handle: fickle})
	w.newModel(&model{
		name: "with lanes", topic: "visits", s: s, open: inStream, fenced: true, handle: fickle,
		key: func(m *message.Message) string { return laneOf(string(m.Payload)) },
		cfg: eventstore.SubscriberConfig{Concurrency: 4},
	})
	if !s.plain { // who may not read $all
		w.newModel(&model{
			name: "with a filter", topic: esclient.AllStream, s: s, open: inStream, fenced: true, handle: fickle,
			from: func(stream string) bool { return stream == "orders" || stream == "ledger" },
			cfg: eventstore.SubscriberConfig{Filter: &esclient.Filter{
				StreamPrefixes: []string{"orders", "ledger"}, CheckpointInterval: 20,
			}},
		})
	}
	if s.projections {
		w.newModel(&model{
			name: "of a category", topic: "$ce-solo", s: s, open: inFile, handle: fickle,
			key: func(m *message.Message) string { return string(m.Payload[len(m.Payload)-1:]) },
			cfg: eventstore.SubscriberConfig{ResolveLinks: true, Concurrency: 3},
		})
	}
}

// live runs the processes one after the other.
func (m *model) live() {
	var p *process
	for !m.w.stopped() {
		if p == nil {
			if p = m.start(); !p.subscribe() {
				p.release()
				p = nil
				continue
			}
			m.closeCrashed()
		}
		select {
		case how := <-m.ends:
			p = m.end(p, how)
		case <-m.rest:
		case <-p.over:
			p.judgeEnd()
			p.release()
			p = nil
		case <-m.w.stop:
		}
	}
	if p != nil {
		p.close()
	}
	m.closeCrashed()
}

func (m *model) closeCrashed() {
	if m.crashed != nil {
		m.crashed.release()
		m.crashed = nil
	}
}

// end ends a process. It returns its successor, if there is one.
func (m *model) end(p *process, how ending) *process {
	m.w.report.count("read models "+string(how), 1)
	switch how {
	case crashed:
		p.crash()
		m.closeCrashed()
		m.crashed = p
		return nil
	case overtaken:
		return m.takeOver(p)
	}
	p.close()
	return nil
}

// takeOver starts another process with the same name while one runs. It returns the successor.
func (m *model) takeOver(p *process) *process {
	q := m.start()
	switch subscribed := q.subscribe(); {
	case subscribed && m.fenced:
		m.w.wg.Go(p.awaitLoss)
		return q
	case subscribed:
		m.w.report.breach(unfenced, "%s: a second process has subscribed", m.name)
	}
	q.release()
	return p
}

// disturb requests an end of the running process.
func (m *model) disturb(how ending) {
	select {
	case m.ends <- how:
	default: // the one before is not over yet
	}
}

// awaitEnds waits until all requested ends are over. So a process that has lost its name still gets the message that is
// appended next: it learns of its loss when it saves.
func (m *model) awaitEnds() {
	require.Eventually(m.w.t, func() bool { return len(m.ends) == 0 }, settleLimit, time.Millisecond)
	select {
	case m.rest <- struct{}{}:
	case <-time.After(settleLimit):
		require.FailNow(m.w.t, "an end of a read model is not over", m.name)
	}
}

// decide decides on a message.
func (m *model) decide() decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handle(m.rand)
}

// places returns the places of the expected messages of a read model, in order.
func (m *model) places() (places []esclient.Checkpoint) {
	if m.from == nil {
		for _, e := range m.read(m.topic) {
			places = append(places, esclient.CheckpointAtNumber(e.Number))
		}
		return places
	}
	for _, stream := range streams {
		if !m.from(stream) {
			continue
		}
		for _, e := range m.read(stream) {
			places = append(places, esclient.CheckpointAtPosition(esclient.Position{
				Commit: e.Commit, Prepare: e.Prepare,
			}))
		}
	}
	slices.SortFunc(places, order)
	return places
}

func (m *model) read(stream string) []estest.Event {
	events, err := m.w.server().Read(stream, 0, 0)
	if !errors.Is(err, estest.ErrNoStream) {
		require.NoError(m.w.t, err)
	}
	return events
}

// order compares two checkpoints of one read model, or a checkpoint and none.
func order(c, d esclient.Checkpoint) int {
	n, err := c.Compare(d)
	if err != nil {
		panic(err)
	}
	return n
}

// missing returns how many messages were not settled, and whether the store is after all of them.
func (m *model) missing(places []esclient.Checkpoint) (lacks int, stored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range places {
		if m.settled[c] == 0 {
			lacks++
		}
	}
	return lacks, len(places) == 0 || order(m.saved, places[len(places)-1]) >= 0
}

// judge compares the messages and saves of the read model with the log.
func (m *model) judge() {
	places, r := m.places(), m.w.report
	lacks, stored := m.missing(places)
	switch {
	case lacks > 0:
		r.breach(missed, "%s: %d of %d", m.name, lacks, len(places))
		r.count(missed, lacks-1)
	case !stored:
		r.breach(unsaved, "%s: %v is saved, the last message is at %v", m.name, m.saved, places[len(places)-1])
	}
	if len(m.settled) == 0 {
		r.breach(idle, "%s was handed nothing", m.name)
	}
	// All messages up to a checkpoint were settled before it was saved.
	slices.SortFunc(m.saves, func(a, b save) int { return cmp.Or(order(a.at, b.at), cmp.Compare(a.when, b.when)) })
	latest := 0 // when the last message up to here was settled
	for _, s := range m.saves {
		for len(places) > 0 && order(places[0], s.at) <= 0 {
			when, ok := m.settled[places[0]]
			if !ok {
				return // it is missing already
			}
			latest, places = max(latest, when), places[1:]
		}
		if latest > s.when {
			r.breach(beyond, "%s: %v was saved, and a message before it had not been settled", m.name, s.at)
		}
	}
}

// appendFinal appends one more message to each shared stream, and makes the first save of each read model fail.
func (w *world) appendFinal() {
	for _, m := range w.models {
		m.awaitEnds()
		m.mu.Lock()
		m.refuse = 2
		m.mu.Unlock()
	}
	for _, stream := range append(slices.Clone(streams), "solo-0") {
		require.Eventually(w.t, func() bool {
			_, err := w.server().Append(stream, estest.Event{Type: "t", Data: []byte("last " + suffix(stream))})
			return err == nil
		}, settleLimit, time.Millisecond)
	}
	if w.projections {
		ctx, cancel := within(settleLimit)
		defer cancel()
		require.NoError(w.t, w.server().WaitForProjections(ctx))
	}
}

// suffix gives each stream another last message.
func suffix(stream string) string { return string('0' + rune(slices.Index(streams, stream)+1)) }

// documentedRefusal reports whether Subscribe may fail with that error, after some time, under faults.
func documentedRefusal(err error, took time.Duration) bool {
	var e *eventstore.CheckpointError
	return errors.As(err, &e) && e.Op == "load" && took >= loadTimeout &&
		(errors.Is(err, context.DeadlineExceeded) || esclient.SafeToRetry(err) || expectedFailure(err))
}
