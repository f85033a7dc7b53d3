package esclient

import (
	"context"
	"errors"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// configReads shares the reads of groupConfigStream. Each event of that stream has all groups of the server. After a
// restart thousands of subscribers may ask for it at once. One read of a kind runs at a time. Later callers share the
// next one, so no answer is older than its question.
type configReads struct {
	client *Client

	mu    sync.Mutex
	kinds map[configKind]*configQueue
}

// configKind is the kind of a read. Reads of the same kind may be shared.
type configKind struct {
	conn  *engine.Conn
	creds esproto.Credentials // zero for the credentials of the connection
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
	next    *configRead // nil while no caller waits for it
}

// configRead is one read and its answer, when the read is over.
type configRead struct {
	*readStreamOp
	reads *configReads
	kind  configKind
	then  []func() // called when it is over
	err   error    // how it ended

	page    sync.Once
	events  []Event // the last one first
	unread  error   // why there are no events
	parse   sync.Once
	configs []*groupConfig // one for each event
	broken  error          // why they cannot be parsed
}

// ask returns the read that answers. The caller must not use the read before the call of then. The reader may call
// then, so it must not block.
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

// begin sends the read in a goroutine: a caller must not wait for room to send.
func (r *configRead) begin() {
	if !r.reads.client.goUnlessClosing(r.start) {
		r.Fail(ErrClosed, false)
	}
}

// start sends the read. It has no caller's context, since several callers may share it.
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

// Wake implements engine.Receiver: the read is over, and the next one begins if a caller waits for it.
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

// all returns the events, the last one first; no events if no group was ever created.
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

// last returns the number and the id of the last event.
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

// see returns the state of a group in the events.
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

// readGroupConfig reads the server's configuration of its groups; nil if no group was ever created. The error is
// ErrAccessDenied if the user may not read it.
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
