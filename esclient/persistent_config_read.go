package esclient

import (
	"context"
	"errors"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// configReads shares what is read of groupConfigStream. Each of its events has all groups of the server, and where
// there are thousands, their subscribers ask for it at the same time, as after a restart. One read of a kind is under
// way at a time. Whoever asks meanwhile shares the next one, so that no answer is older than its question.
type configReads struct {
	client *Client

	mu    sync.Mutex
	kinds map[configKind]*configQueue
}

// configKind is what reads have in common that may be shared.
type configKind struct {
	conn  *engine.Conn
	creds esproto.Credentials // zero for those of the connection
	count int                 // how many events, the last one first
}

func newConfigKind(conn *engine.Conn, creds *esproto.Credentials, count int) configKind {
	kind := configKind{conn: conn, count: count}
	if creds != nil {
		kind.creds = *creds
	}
	return kind
}

type configQueue struct {
	running *configRead
	next    *configRead // nil while nobody waits for it
}

// configRead is one read and, when it is over, its answer.
type configRead struct {
	*readStreamOp
	reads *configReads
	kind  configKind
	then  []func() // called when it is over
	err   error    // how it ended

	page    sync.Once
	events  []Event // the last one first
	unread  error   // why there are none
	parse   sync.Once
	configs []*groupConfig // one of each event
	broken  error          // why they cannot be parsed
}

// ask returns the read that answers, of which nothing may be looked at before then was called with it, perhaps by the
// reader: it must not block.
func (c *configReads) ask(kind configKind, then func(*configRead)) *configRead {
	c.mu.Lock()
	q := c.kinds[kind]
	if q == nil {
		if c.kinds == nil {
			c.kinds = make(map[configKind]*configQueue)
		}
		q = &configQueue{}
		c.kinds[kind] = q
	}
	if q.next == nil {
		q.next = c.newRead(kind)
	}
	r := q.next
	r.then = append(r.then, func() { then(r) })
	idle := q.running == nil
	if idle {
		q.running, q.next = r, nil
	}
	c.mu.Unlock()
	if idle {
		r.begin()
	}
	return r
}

func (c *configReads) newRead(kind configKind) *configRead {
	ctx := WithRequireLeader(context.Background(), true)
	op := c.client.readStreamOp(ctx, groupConfigStream,
		ReadOptions{Backward: true, MaxCount: int64(kind.count), PageSize: kind.count})
	return &configRead{readStreamOp: op, reads: c, kind: kind}
}

// begin has the read sent. Nobody who asks waits for room to send.
func (r *configRead) begin() {
	if !r.reads.client.goUnlessClosing(r.start) {
		r.Fail(ErrClosed, false)
	}
}

// start sends the read. Nobody's context ends it, since others may wait for it.
func (r *configRead) start() {
	var creds *esproto.Credentials
	if r.kind.creds != (esproto.Credentials{}) {
		creds = &r.kind.creds
	}
	if _, err := r.kind.conn.Start(r.reads.client.ctx, r, creds, r); err != nil {
		r.Fail(err, false)
	}
}

// Keeps implements engine.Receiver.
func (r *configRead) Keeps(cmd esproto.Command, _ int) bool { return r.readStreamOp.Keeps(cmd) }

// Receive implements engine.Receiver.
func (r *configRead) Receive(cmd esproto.Command, payload []byte) (more bool) {
	r.err = fromEngine(engine.DecodeReply(r.readStreamOp, cmd, payload))
	return false
}

// TooLarge implements engine.Receiver.
func (r *configRead) TooLarge(_ esproto.Command, err error) (more bool) {
	r.err = fromEngine(err)
	return false
}

// Fail implements engine.Receiver.
func (r *configRead) Fail(err error, _ bool) {
	r.err = fromEngine(err)
	r.Wake()
}

// Wake implements engine.Receiver: the read is over, and the next one begins if somebody waits for it.
func (r *configRead) Wake() {
	c := r.reads
	c.mu.Lock()
	q := c.kinds[r.kind]
	q.running, q.next = q.next, nil
	next := q.running
	if next == nil {
		delete(c.kinds, r.kind)
	}
	c.mu.Unlock()
	for _, then := range r.then {
		then()
	}
	if next != nil {
		next.begin()
	}
}

// all returns the events, the last one first; none where no group was ever made.
func (r *configRead) all() ([]Event, error) {
	r.page.Do(func() {
		switch {
		case r.err == nil:
			var page StreamPage
			page, r.unread = r.readStreamOp.page()
			r.events = page.Events
		case !errors.Is(r.err, ErrStreamNotFound):
			r.unread = r.err
		}
	})
	return r.events, r.unread
}

// parseAll returns the configuration in each of the events.
func (r *configRead) parseAll() ([]*groupConfig, error) {
	events, err := r.all()
	if err != nil {
		return nil, err
	}
	r.parse.Do(func() {
		for i := range events {
			cfg, err := parseGroupConfig(events[i].Data)
			if err != nil {
				r.broken = err
				return
			}
			r.configs = append(r.configs, cfg)
		}
	})
	return r.configs, r.broken
}

// last returns which event is the last one.
func (r *configRead) last() configSnapshot {
	events, err := r.all()
	switch {
	case err != nil:
		return configSnapshot{}
	case len(events) == 0:
		return configSnapshot{known: true, number: -1}
	}
	return configSnapshot{known: true, number: events[0].Number, id: events[0].ID}
}

// see returns what the events tell of a group.
func (r *configRead) see(stream, group string) configSnapshot {
	s := r.last()
	configs, err := r.parseAll()
	if err != nil {
		return configSnapshot{}
	}
	for i, cfg := range configs {
		settings, has := cfg.find(stream, group)
		switch i {
		case 0:
			s.has, s.timeout = has, settings.MessageTimeout
		case 1:
			s.before, s.had = r.events[i].Number == s.number-1, has
		}
	}
	return s
}

// readGroupConfig reads the server's configuration of its groups; without any if none was ever made. The error is
// ErrAccessDenied for whoever may not read it.
func (c *Client) readGroupConfig(ctx context.Context) (*groupConfig, error) {
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return nil, err
	}
	a := attempts{c: c, repetition: reading}
	for {
		conn, err := c.connUnsent(ctx)
		if err != nil {
			return nil, err
		}
		a.conn = conn
		var r *configRead
		if r, err = c.configs.wait(ctx, newConfigKind(conn, creds, 1)); err == nil {
			configs, err := r.parseAll()
			if err != nil || len(configs) == 0 {
				return &groupConfig{}, err
			}
			return configs[0], nil
		}
		if err := a.again(ctx, r, true, err); err != nil {
			return nil, explained(err)
		}
	}
}

// wait asks and waits for the answer.
func (c *configReads) wait(ctx context.Context, kind configKind) (*configRead, error) {
	over := make(chan struct{})
	r := c.ask(kind, func(*configRead) { close(over) })
	select {
	case <-over:
		_, err := r.all()
		return r, err
	case <-ctx.Done():
		return r, context.Cause(ctx)
	}
}
