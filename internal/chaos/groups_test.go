package chaos

import (
	"context"
	"errors"
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

// group is a consumer group and the messages of its subscribers.
type group struct {
	w      *world
	name   string
	stream string
	// order returns the key whose messages stay in order; nil if no order is promised.
	order func(payload string) string
	// handle decides on a message. It may take some time.
	handle func(r *rand.Rand) decision
	plain  bool // its users may not see whether the group is still the same
	shared bool // other subscribers get some of its messages: its own, or those of giveUp

	subs []*eventstore.Subscriber
	wg   sync.WaitGroup

	mu       sync.Mutex
	closing  bool
	changing bool      // the group is being deleted and created again
	epoch    int       // how many times it was created again
	young    time.Time // time of the last disturbance without a checkpoint
	shaken   bool      // a disturbance without a checkpoint is going on
	// By the number of the event, in this epoch.
	acked   map[int64]bool
	parked  map[int64][]asked // requests to park it, in all epochs
	entries map[int64]int64   // of the parked stream: the number of the event, by the number of the entry
	decided map[int64]bool
	handed  map[string]int64 // by the payload of a message: the lowest number under which it was handed out
	unclear map[int64]bool   // settled while the group was being created again
	highest map[string]int64 // by the key of the order, from its first message on: the old group's may come before
	first   map[string]int64 // the number of the first message of each key, in all epochs
	began   map[string]bool  // that message was handed out while the group was being created again
}

// asked is the time and the link of a request to park a message.
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

func (w *world) newGroup(
	name, stream string, s setting, members int, cfg eventstore.SubscriberConfig,
	order func(string) string, handle func(*rand.Rand) decision,
) *group {
	g := &group{
		w: w, name: name, stream: stream, order: order, handle: handle, plain: s.plain,
		parked: make(map[int64][]asked), entries: make(map[int64]int64), unclear: make(map[int64]bool),
		first: make(map[string]int64), shared: members > 1 || order == nil,
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

// begin forgets the messages of the group. g.mu is held, or the group is not in use yet.
func (g *group) begin() {
	g.acked, g.decided = make(map[int64]bool), make(map[int64]bool)
	g.handed, g.highest = make(map[string]int64), make(map[string]int64)
}

func (g *group) settings() esclient.PersistentSettings {
	s := eventstore.DefaultGroupSettings()
	s.CheckpointAfter = 50 * time.Millisecond
	return s
}

// create creates the group, however long it takes.
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

// recreate deletes the group and creates it again. Then all messages must be handed out once more. Messages of the old
// group may be handed out until the subscribers have joined the new one. afterwards makes that possible.
func (g *group) recreate(afterwards func()) {
	g.mu.Lock()
	g.changing, g.unclear, g.began = true, make(map[int64]bool), make(map[string]bool)
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

// disturb notes that the group is about to forget all that it has not stored.
func (g *group) disturb() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shaken = g.shaken || !g.hasCheckpoint()
}

// calm notes that the disturbance is over.
func (g *group) calm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shaken {
		g.shaken, g.young = false, time.Now()
	}
}

func (g *group) hasCheckpoint() bool {
	return len(g.read("$persistentsubscription-"+g.stream+"::"+g.name+"-checkpoint")) > 0
}

// hasDouble reports whether a message is in the group's stream twice.
func (g *group) hasDouble() bool {
	there := make(map[string]bool)
	for _, e := range g.read(g.stream) {
		if there[string(e.Data)] {
			return true
		}
		there[string(e.Data)] = true
	}
	return false
}

// read returns the events of a stream; none if it does not exist.
func (g *group) read(stream string) []estest.Event {
	events, err := g.w.server().Read(stream, 0, 0)
	if !errors.Is(err, estest.ErrNoStream) {
		require.NoError(g.w.t, err)
	}
	return events
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

// laneOf returns the key of a message: its publisher and the last digit of its number.
func laneOf(payload string) string {
	name, number, _ := strings.Cut(payload, " ")
	return name + number[len(number)-1:]
}

func (w *world) startGroups(s setting) {
	everything := func(string) string { return "" }
	quick := func(*rand.Rand) decision { return ack }
	w.newGroup("single", "orders", s, 1, eventstore.SubscriberConfig{}, everything, quick)
	w.newGroup("team", "orders", s, 3, eventstore.SubscriberConfig{}, nil, quick)
	w.newGroup("lanes", "visits", s, 1, eventstore.SubscriberConfig{
		Concurrency: 4, Key: func(m *message.Message) string { return laneOf(string(m.Payload)) },
	}, laneOf, func(r *rand.Rand) decision {
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
