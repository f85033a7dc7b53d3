package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// group is a consumer group, and what its subscribers were handed.
type group struct {
	w      *world
	name   string
	stream string
	// order returns what messages stay in order by; nil where nothing is promised.
	order func(payload string) string
	// handle decides on a message, and may take its time.
	handle func(r *rand.Rand) decision
	plain  bool // its users may not see whether it is still the same

	subs []*eventstore.Subscriber
	wg   sync.WaitGroup

	mu       sync.Mutex
	closing  bool
	changing bool // the group is being made anew
	epoch    int  // how often it was
	// By the number of the event, in this epoch.
	acked   map[int64]bool
	parked  map[int64][]asked // how often its parking was asked for, in all epochs
	entries map[int64]int64   // of the parked stream: the number of the event, by the number of the entry
	decided map[int64]bool
	handed  map[string]int64 // by the payload of a message: the lowest number under which it was handed out
	unclear map[int64]bool   // settled while the group was being made anew
	highest map[string]int64 // by the key of the order, from its first message on: the old group's may come before
	first   map[string]int64 // the number of the first message of each key, in all epochs
}

// asked is when a message was to be parked, and over which link.
type asked struct {
	at   time.Time
	link *link
}

type decision int

const (
	ack decision = iota
	nack
	park
)

// member is one subscriber of a group.
type member struct {
	g     *group
	link  *link
	acked map[int64]int // the epoch in which it was handed out and acked
	held  map[int64]int // the epoch in which it was handed out, until it is settled
	rand  *rand.Rand
}

func (w *world) newGroup(
	name, stream string, s setting, members int, cfg eventstore.SubscriberConfig,
	order func(string) string, handle func(*rand.Rand) decision,
) *group {
	g := &group{
		w: w, name: name, stream: stream, order: order, handle: handle, plain: s.plain,
		parked: make(map[int64][]asked), entries: make(map[int64]int64), unclear: make(map[int64]bool),
		first: make(map[string]int64),
	}
	g.begin()
	w.groups = append(w.groups, g)
	g.create()
	cfg.ConsumerGroup, cfg.RecreateGroup = name, !s.plain
	cfg.DisableGroupCreation = s.plain // who may not make groups
	cfg.NackDelay, cfg.AckGrace = time.Millisecond, time.Second
	for i := range members {
		cfg.Client = w.client(s)
		sub, err := eventstore.NewSubscriber(cfg, nil)
		require.NoError(w.t, err)
		g.subs = append(g.subs, sub)
		messages, err := sub.Subscribe(context.Background(), stream)
		require.NoError(w.t, err)
		m := &member{
			g: g, link: w.links[len(w.links)-1], acked: make(map[int64]int), held: make(map[int64]int),
			rand: rand.New(rand.NewPCG(w.seed, uint64(i)+100)),
		}
		workers := max(1, cfg.Concurrency)
		for range workers {
			g.wg.Go(func() { m.consume(messages) })
		}
	}
	return g
}

// begin forgets what the group was handed. g.mu is held, or nobody else knows the group.
func (g *group) begin() {
	g.acked, g.decided = make(map[int64]bool), make(map[int64]bool)
	g.handed, g.highest = make(map[string]int64), make(map[string]int64)
}

func (g *group) settings() esclient.PersistentSettings {
	s := eventstore.DefaultGroupSettings()
	s.CheckpointAfter = 50 * time.Millisecond
	return s
}

// create makes the group, however long it takes.
func (g *group) create() {
	for !g.w.stopped() {
		ctx, cancel := within(time.Second)
		err := g.w.operator.CreatePersistent(ctx, g.stream, g.name, g.settings())
		cancel()
		if err == nil || errors.Is(err, esclient.ErrGroupExists) {
			return
		}
	}
}

// makeAnew deletes the group and makes it again: everything is to be handed out once more. What the old group pushed
// may be handed out until the subscribers have joined the new one, for which afterwards makes a way.
func (g *group) makeAnew(afterwards func()) {
	g.mu.Lock()
	g.changing, g.unclear = true, make(map[int64]bool)
	g.mu.Unlock()
	for !g.w.stopped() {
		ctx, cancel := within(time.Second)
		err := g.w.operator.DeletePersistent(ctx, g.stream, g.name)
		cancel()
		if err == nil || errors.Is(err, esclient.ErrGroupNotFound) {
			break
		}
	}
	g.create()
	afterwards()
	for limit := time.Now().Add(settleLimit); time.Now().Before(limit) && !g.w.stopped(); time.Sleep(time.Millisecond) {
		if g.stats(g.w.server()).Clients >= len(g.subs) {
			break
		}
	}
	g.mu.Lock()
	g.epoch++
	g.begin()
	g.changing = false
	g.mu.Unlock()
}

func (m *member) consume(messages <-chan *message.Message) {
	for msg := range messages {
		number, _ := eventstore.EventNumberFromCtx(msg.Context())
		m.note(number, string(msg.Payload))
		d := m.decide()
		if d == ack {
			m.ack(msg, number)
			continue
		}
		if d == park {
			m.g.mu.Lock()
			m.g.parked[number] = append(m.g.parked[number], asked{time.Now(), m.link})
			if m.g.changing {
				m.g.unclear[number] = true
			}
			m.g.decided[number] = true
			delete(m.held, number)
			m.g.mu.Unlock()
			eventstore.NackWith(msg, eventstore.ActionPark, "chaos")
			continue
		}
		msg.Nack()
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if !m.g.closing {
		m.g.w.report.breach(endedEarly, "group %q", m.g.name)
	}
}

func (m *member) decide() decision {
	m.g.mu.Lock()
	seed := m.rand.Uint64()
	m.g.mu.Unlock()
	return m.g.handle(rand.New(rand.NewPCG(seed, 1)))
}

// note notes that a message was handed out.
func (m *member) note(number int64, payload string) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w.report.count("messages handed out by groups", 1)
	if _, ok := m.held[number]; !ok {
		m.held[number] = g.epoch
	}
	if g.changing || m.held[number] != g.epoch {
		return // the old group may have handed it out
	}
	if epoch, ok := m.acked[number]; ok && epoch == g.epoch {
		m.g.again(number, payload)
	}
	// The server tells events apart by their ids. Of a message that was written twice it has the second event come
	// again late or never where both were on their way, so the first one counts.
	if before, again := g.handed[payload]; again && before <= number {
		return
	}
	g.handed[payload] = number
	if g.order != nil {
		g.noteOrder(g.order(payload), number)
	}
}

// noteOrder notes that a message of a key was handed out for the first time. g.mu is held.
func (g *group) noteOrder(key string, number int64) {
	if _, ok := g.first[key]; !ok {
		g.first[key] = number
	}
	last, begun := g.highest[key]
	switch {
	case !begun && number != g.first[key]:
		return
	case number < last:
		g.w.report.breach(disordered, "%s: number %d behind %d", g.name, number, last)
	}
	g.highest[key] = max(last, number)
}

// again notes that a message was handed out after its ack. Where a plain user cannot see whether the group is still the
// same, that is better than never. g.mu is held.
func (g *group) again(number int64, payload string) {
	if g.plain {
		g.w.report.count("handed out again after the ack, to a plain user", 1)
		return
	}
	g.w.report.breach(again, "%s: number %d, %q", g.name, number, payload)
}

// ack acks under the lock, so that no hand-out comes between the ack and its note.
func (m *member) ack(msg *message.Message, number int64) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	held := m.held[number]
	switch {
	case !msg.Ack():
		return
	case g.changing:
		g.unclear[number] = true
	case held == g.epoch: // or the new group may hand it out once more
		m.acked[number] = g.epoch
		fallthrough
	default:
		g.acked[number] = true
	}
	delete(m.held, number)
}

// missing returns the numbers of events whose message nobody has settled in this epoch. One that is there twice, with
// one id, may come once: a server takes both for one while it waits for an ack.
func (g *group) missing(log []logged) (numbers []int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	settled := make(map[string]bool)
	for _, e := range log {
		if g.acked[e.number] || g.decided[e.number] || g.unclear[e.number] {
			settled[e.payload] = true
		}
	}
	for _, e := range log {
		if !settled[e.payload] {
			numbers = append(numbers, e.number)
		}
	}
	return numbers
}

// judge holds what the group was handed against the log and the parked stream.
func (g *group) judge(log []logged, srv *estest.Server) {
	if numbers := g.missing(log); len(numbers) > 0 {
		g.w.report.breach(missed, "%s: %d of %d, from %d on; at the server: %+v",
			g.name, len(numbers), len(log), numbers[0], g.stats(srv))
		g.w.report.count(missed, len(numbers)-1)
	}
	g.noteParked(srv)
	parked := make(map[int64]int)
	for _, number := range g.entries {
		parked[number]++
	}
	for number, n := range parked {
		switch most := len(g.parked[number]); {
		case n > most+g.untold(number):
			g.w.report.breach(surprise, "%s: number %d is parked %d times, asked for %d times", g.name, number, n, most)
		case n > most:
			g.w.report.count("parked twice, since nothing could tell a plain user of the first time", 1)
		}
	}
	g.w.report.count("messages parked", len(g.entries))
}

// proofTime is how long a server may take, under faults, to tell that it has read the park of a message.
const proofTime = time.Second

// untold returns how many parks of a message a plain user may have to repeat: their connection was lost before the
// server could tell that it had read them, and then a server forgot that the message was dealt with.
func (g *group) untold(number int64) (n int) {
	if !g.plain {
		return 0
	}
	for _, a := range g.parked[number] {
		if a.link.lostWithin(a.at, proofTime) && g.w.lastReset.After(a.at) {
			n++
		}
	}
	return n
}

// noteParked notes what the parked stream has. A replay hides it.
func (g *group) noteParked(srv *estest.Server) {
	entries, err := srv.Read("$persistentsubscription-"+g.stream+"::"+g.name+"-parked", 0, 0)
	if err != nil && !errors.Is(err, estest.ErrNoStream) {
		require.NoError(g.w.t, err)
	}
	for _, e := range entries {
		var number int64
		if _, err := fmt.Sscanf(string(e.Data), "%d@", &number); err == nil {
			g.entries[e.Number] = number
		}
	}
}

// judgeClients waits until the server has as many subscribers of the group as there are.
func (g *group) judgeClients(srv *estest.Server) {
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		if g.stats(srv).Clients == len(g.subs) {
			return
		}
	}
	g.w.report.breach(ghost, "%s has %d, there are %d", g.name, g.stats(srv).Clients, len(g.subs))
}

// stats are what the server counts of the group.
func (g *group) stats(srv *estest.Server) estest.GroupStats {
	for _, s := range srv.Stats().Groups {
		if s.Stream == g.stream && s.Group == g.name {
			return s
		}
	}
	return estest.GroupStats{}
}

func (g *group) close() {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	for _, s := range g.subs {
		require.NoError(g.w.t, s.Close())
	}
	g.wg.Wait()
}

// writerOf returns who published a message.
func writerOf(payload string) string {
	name, _, _ := strings.Cut(payload, " ")
	return name
}

func (w *world) startGroups(s setting) {
	everything := func(string) string { return "" }
	quick := func(*rand.Rand) decision { return ack }
	w.newGroup("single", "orders", s, 1, eventstore.SubscriberConfig{}, everything, quick)
	w.newGroup("team", "orders", s, 3, eventstore.SubscriberConfig{}, nil, quick)
	w.newGroup("lanes", "visits", s, 1, eventstore.SubscriberConfig{
		Concurrency: 4, Key: func(m *message.Message) string { return writerOf(string(m.Payload)) },
	}, writerOf, func(r *rand.Rand) decision {
		if r.IntN(20) == 0 {
			return nack
		}
		return ack
	})
	w.newGroup("picky", "ledger", s, 1, eventstore.SubscriberConfig{}, nil, func(r *rand.Rand) decision {
		switch n := r.IntN(100); {
		case n < 4:
			return park
		case n < 14:
			return nack
		case n < 16:
			time.Sleep(50 * time.Millisecond)
		}
		return ack
	})
}
