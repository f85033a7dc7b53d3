package chaos

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// process is one process of a read model: a client, a store and a Subscriber.
type process struct {
	m      *model
	client *esclient.Client
	store  modelStore
	sub    *eventstore.Subscriber
	log    *endLog
	buried chan struct{} // closed when the remains of the process may end
	over   chan struct{} // closed when all its handlers have returned

	// Guarded by m.mu.
	dead    bool
	failed  bool // the latest Save failed
	loaded  esclient.Checkpoint
	acked   map[esclient.Checkpoint]bool
	open    map[string]esclient.Checkpoint // by key: handed out and not settled
	latest  map[string]esclient.Checkpoint // by key: the latest message
	highest esclient.Checkpoint            // that was tried to be saved
}

// modelStore is a store and the function that closes it.
type modelStore struct {
	eventstore.Checkpoints
	close func()
}

// errCrashed is the error of every call of a crashed process. The store is not called.
var errCrashed = errors.Join(errors.New("crashed"), esclient.ErrClosed)

// errFull is the error of a store that a fault has filled.
var errFull = errors.New("chaos: the disk is full")

// start makes a process with a connection.
func (m *model) start() *process {
	p := &process{
		m: m, log: &endLog{}, buried: make(chan struct{}), over: make(chan struct{}),
		acked: make(map[esclient.Checkpoint]bool), open: make(map[string]esclient.Checkpoint),
		latest: make(map[string]esclient.Checkpoint),
	}
	cfg := m.w.config(m.link, m.s.plain)
	cfg.Dial = p.dial
	var err error
	p.client, err = esclient.New(cfg)
	require.NoError(m.w.t, err)
	p.store = m.open(p.client)
	sub := m.cfg
	sub.Client, sub.Checkpoints = p.client, p
	p.sub, err = eventstore.NewSubscriber(sub, p.log)
	require.NoError(m.w.t, err)
	for { // if another server answers the first connection, calls return that error at once
		ctx, cancel := within(loadTimeout)
		err := p.client.Connect(ctx)
		cancel()
		if err == nil {
			return p
		}
	}
}

func (p *process) isDead() bool {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.dead
}

// dial connects as long as the process lives.
func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if p.isDead() {
		return nil, errCrashed
	}
	return p.m.link.dial(ctx, network, address)
}

// subscribe reports whether the process has subscribed.
func (p *process) subscribe() bool {
	m, started := p.m, time.Now()
	messages, err := p.sub.Subscribe(context.Background(), m.topic)
	if err != nil {
		close(p.over)
		taken := errors.Is(err, eventstore.ErrCheckpointTaken) && time.Since(started) >= loadTimeout
		switch {
		case taken && !m.fenced:
			m.w.report.count("read models refused, since the name was in use", 1)
		case documentedRefusal(err, time.Since(started)):
			m.w.report.count("read models that could not load their checkpoint under faults", 1)
		default:
			m.w.report.breach(refused, "%s after %v: %v", m.name, time.Since(started), err)
		}
		return false
	}
	var handlers sync.WaitGroup
	for range max(1, m.cfg.Concurrency) {
		handlers.Go(func() { p.consume(messages) })
	}
	go func() {
		handlers.Wait()
		close(p.over)
	}()
	return true
}

func (p *process) consume(messages <-chan *message.Message) {
	for msg := range messages {
		c, _ := eventstore.CheckpointFromCtx(msg.Context())
		if !p.note(c, p.m.key(msg)) {
			<-p.buried
			msg.Nack()
			continue
		}
		switch d := p.m.decide(); d {
		case nack:
			msg.Nack()
		default:
			p.settle(msg, c, d)
		}
	}
}

// note notes that a message was handed out, unless the process is dead.
func (p *process) note(c esclient.Checkpoint, key string) (alive bool) {
	m, r := p.m, p.m.w.report
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.dead {
		return false
	}
	r.count("messages handed out to read models", 1)
	last, begun := p.latest[key]
	if !begun {
		last = p.loaded
	}
	inHand, waits := p.open[key]
	switch {
	case p.acked[c]:
		r.breach(again, "%s: %v", m.name, c)
	case order(c, p.loaded) <= 0:
		r.breach(passed, "%s: %v, and %v had been loaded", m.name, c, p.loaded)
	case waits && inHand != c:
		r.breach(disordered, "%s: %v while %v of its key is not settled", m.name, c, inHand)
	case begun && !waits && order(c, last) < 0:
		r.breach(disordered, "%s: %v behind %v", m.name, c, last)
	case m.from == nil && m.cfg.Concurrency <= 1 && !waits && c != behind(last):
		r.breach(missed, "%s: from %v to %v", m.name, last, c)
	case m.settled[c] > 0:
		r.count("messages handed out to read models once more", 1)
	}
	p.open[key], p.latest[key] = c, c
	return true
}

// behind returns the place of the event after one of a stream.
func behind(c esclient.Checkpoint) esclient.Checkpoint {
	n, ok := c.Number()
	if !ok {
		return esclient.CheckpointAtNumber(0)
	}
	return esclient.CheckpointAtNumber(n + 1)
}

// settle settles a message under the lock, so that no save comes between the message and its note.
func (p *process) settle(msg *message.Message, c esclient.Checkpoint, d decision) {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.dead {
		msg.Nack()
		return
	}
	m.clock++
	if m.settled[c] == 0 {
		m.settled[c] = m.clock
	}
	p.acked[c] = true
	delete(p.open, m.key(msg))
	if d == park {
		eventstore.NackWith(msg, eventstore.ActionSkip, "chaos")
		return
	}
	msg.Ack()
}

// Load implements eventstore.Checkpoints.
func (p *process) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	m := p.m
	m.mu.Lock()
	m.asked = p
	before := m.saved
	m.mu.Unlock()
	c, err := p.store.Load(ctx, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.w.report.count("loads of a checkpoint that failed", 1)
		return c, err
	}
	switch {
	case order(c, before) < 0:
		m.w.report.breach(forgotten, "%s: %v was loaded, and %v had been saved", m.name, c, before)
	case !c.IsZero() && !m.tried[c]:
		m.w.report.breach(beyond, "%s: %v was loaded, and no process has saved it", m.name, c)
	}
	m.owner, p.loaded = p, c
	if order(c, m.saved) > 0 {
		m.saved = c // a process that did not get the reply has saved it
	}
	return c, nil
}

// Save implements eventstore.Checkpoints.
func (p *process) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	lost, err := p.beginSave(c)
	if err == nil {
		err = p.store.Save(ctx, name, c)
	}
	m, r := p.m, p.m.w.report
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.dead {
		return errCrashed
	}
	p.failed = err != nil
	switch {
	case err == nil && lost:
		r.breach(unfenced, "%s: a process that had lost the name has saved %v", m.name, c)
	case err == nil:
		r.count("checkpoints saved", 1)
		if order(c, m.saved) > 0 {
			m.saved = c
		}
	case errors.Is(err, eventstore.ErrCheckpointTaken) && m.asked == p:
		r.breach(endedEarly, "%s: no process has taken the name, and Save says: %v", m.name, err)
	default:
		r.count("saves of a checkpoint that failed", 1)
	}
	return err
}

// beginSave notes an attempt to save. lost is true if another process has the name.
func (p *process) beginSave(c esclient.Checkpoint) (lost bool, err error) {
	m, r := p.m, p.m.w.report
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.dead {
		return false, errCrashed
	}
	m.clock++
	m.saves, m.tried[c] = append(m.saves, save{c, m.clock}), true
	for _, o := range p.open {
		if order(o, c) <= 0 {
			r.breach(beyond, "%s: %v, and %v is not settled", m.name, c, o)
		}
	}
	if order(c, p.highest) < 0 || order(c, p.loaded) < 0 {
		r.breach(forgotten, "%s: %v is to be saved, behind %v and %v", m.name, c, p.loaded, p.highest)
	}
	p.highest = c
	if m.refuse > 0 {
		m.refuse--
		return false, errFull
	}
	return m.owner != p, nil
}

// close ends the process in good order. After that no message may be handed out.
func (p *process) close() {
	require.NoError(p.m.w.t, p.sub.Close())
	<-p.over
	p.judgeClose()
	p.release()
}

func (p *process) judgeClose() {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.failed || m.owner != p {
		m.w.report.count("read models that ended without their last save", 1)
		return
	}
	if m.from == nil { // with lanes, one message may be settled before another is handed out
		if c := behind(m.saved); p.acked[c] {
			m.w.report.breach(unsaved, "%s: %v at its end, and %v was settled", m.name, m.saved, c)
		}
		return
	}
	for c := range p.acked {
		stuck := false
		for _, o := range p.open {
			stuck = stuck || order(o, c) < 0
		}
		if !stuck && order(c, m.saved) > 0 {
			m.w.report.breach(unsaved, "%s: %v at its end, and %v was settled", m.name, m.saved, c)
			return
		}
	}
}

// crash ends the process without closing anything.
func (p *process) crash() {
	p.m.mu.Lock()
	p.dead = true
	p.m.mu.Unlock()
	p.m.link.cut()
	p.store.close()
}

// release ends the remains of a process.
func (p *process) release() {
	close(p.buried)
	require.NoError(p.m.w.t, p.sub.Close())
	<-p.over
	if !p.isDead() {
		p.store.close()
	}
	require.NoError(p.m.w.t, p.client.Close())
}

// judgeEnd checks why the subscription has ended by itself.
func (p *process) judgeEnd() {
	p.m.mu.Lock()
	taken := p.m.asked != p
	p.m.mu.Unlock()
	err := p.log.end()
	if taken && errors.Is(err, eventstore.ErrCheckpointTaken) {
		p.m.w.report.count("subscriptions that ended since another process had their name", 1)
		return
	}
	p.m.w.report.breach(endedEarly, "%s: %v", p.m.name, err)
}

// awaitLoss waits until the process has lost its name to another one.
func (p *process) awaitLoss() {
	select {
	case <-p.over:
		p.judgeEnd()
	case <-p.m.w.stop:
		select {
		case <-p.over:
			p.judgeEnd()
		case <-time.After(settleLimit):
			p.m.w.report.breach(unfenced, "%s: a process goes on that had lost the name", p.m.name)
		}
	}
	p.release()
}

// endLog keeps why a subscription ended by itself.
type endLog struct {
	watermill.NopLogger
	mu  sync.Mutex
	err error
}

func (l *endLog) Error(msg string, err error, _ watermill.LogFields) {
	if msg != "Subscription ended" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *endLog) With(watermill.LogFields) watermill.LoggerAdapter { return l }

func (l *endLog) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
