package esclient

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// configReads shares the reads of groupConfigStream. Each event of that stream has all groups of the server. After a
// restart thousands of subscribers may ask for it at once. One read of a kind runs at a time. Later callers share the
// next one, so no answer is older than its question. A read on the connection of the latest answer asks only for the
// events after it, since the configuration of thousands of groups has megabytes.
type configReads struct {
	client *Client

	mu     sync.Mutex
	kinds  map[configKind]*configQueue
	latest *configRead // the last one of a single event that was answered; nil if there is none
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
	fresh bool          // it must not rely on the latest answer
	base  *configAnswer // the latest answer before; nil if the read asks for all events of its kind
	then  []func()      // called when it is over
	err   error         // how it ended

	page   sync.Once
	answer *configAnswer
	unread error // why there is no answer
}

// configAnswer is an answer of the server. Reads that find no event after it share it.
type configAnswer struct {
	events  []Event // the last one first
	parse   sync.Once
	configs []*groupConfig // one for each event
	broken  error          // why they cannot be parsed
	parsed  atomic.Bool
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

// outdate forgets the latest answer, since this client has changed a group: a read of the events after that answer
// might return two long ones.
func (c *configReads) outdate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = nil
}

func (c *configReads) newRead(kind configKind) *configRead {
	return &configRead{readStreamOp: c.op(ReadOptions{
		Backward: true, MaxCount: int64(kind.count), PageSize: kind.count,
	}), reads: c, kind: kind}
}

func (c *configReads) op(opts ReadOptions) *readStreamOp {
	return c.client.readStreamOp(WithRequireLeader(context.Background(), true), groupConfigStream, opts)
}

// configPage is how many events after the latest answer are read. The stream keeps fewer.
const configPage = 4

// continueLatest makes a read ask only for the events after the latest answer, if there is one of this connection. The
// read has not begun.
func (r *configRead) continueLatest() {
	r.reads.mu.Lock()
	latest := r.reads.latest
	r.reads.mu.Unlock()
	if latest == nil || latest.kind != r.kind {
		return
	}
	if events, err := latest.all(); err == nil && len(events) > 0 {
		r.base = latest.answer
		r.readStreamOp = r.reads.op(ReadOptions{
			From: AfterNumber(events[0].Number), MaxCount: configPage, PageSize: configPage,
		})
	}
}

// begin sends the read in a goroutine: a caller must not wait for room to send.
func (r *configRead) begin() {
	if !r.reads.client.goUnlessClosing(r.start) {
		r.Fail(ErrClosed, false)
	}
}

// start sends the read. It has no caller's context, since several callers may share it.
func (r *configRead) start() {
	if !r.fresh {
		r.continueLatest()
	}
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
	if r.base != nil && !r.follows() {
		again := c.newRead(r.kind)
		r.readStreamOp, r.base, r.err, r.fresh = again.readStreamOp, nil, nil, true
		r.begin()
		return
	}
	c.mu.Lock()
	if r.err == nil && r.kind.count == 1 {
		c.latest = r
	}
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

// follows reports whether the events after the latest answer, or their absence, tell the state of the stream. They do
// not if the stream was deleted meanwhile.
func (r *configRead) follows() bool {
	if r.err != nil {
		return !errors.Is(r.err, ErrStreamNotFound)
	}
	reply := &r.readStreamOp.reply
	last := r.base.events[0].Number
	return reply.IsEndOfStream && (reply.Len > 0) == (reply.LastEventNumber > last) && reply.LastEventNumber >= last
}

// all returns the events, the last one first; no events if no group was ever created.
func (r *configRead) all() ([]Event, error) {
	r.page.Do(func() {
		r.answer = new(configAnswer)
		switch {
		case r.err == nil:
			var page StreamPage
			page, r.unread = r.readStreamOp.page()
			switch r.answer.events = page.Events; {
			case r.base == nil:
			case len(page.Events) == 0 && r.unread == nil:
				r.answer = r.base
			default:
				slices.Reverse(r.answer.events)
				r.answer.events = r.answer.events[:min(len(r.answer.events), r.kind.count)]
			}
		case !errors.Is(r.err, ErrStreamNotFound):
			r.unread = r.err
		}
		r.base = nil
	})
	return r.answer.events, r.unread
}

// parseAll returns the configuration in each of the events.
func (r *configRead) parseAll() ([]*groupConfig, error) {
	events, err := r.all()
	if err != nil {
		return nil, err
	}
	a := r.answer
	a.parse.Do(func() {
		defer a.parsed.Store(true)
		for i := range events {
			cfg, err := parseGroupConfig(events[i].Data)
			if err != nil {
				a.broken = err
				return
			}
			a.configs = append(a.configs, cfg)
		}
	})
	return a.configs, a.broken
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
			s.before, s.had = r.answer.events[i].Number == s.number-1, has
		}
	}
	return s
}

// find returns the settings of a group in the last event; false if there is no such group.
func (r *configRead) find(stream, group string) (PersistentSettings, bool, error) {
	events, err := r.all()
	if err != nil || len(events) == 0 {
		return PersistentSettings{}, false, err
	}
	if data := events[0].Data; !r.answer.parsed.Load() && (!mentions(data, stream) || !mentions(data, group)) {
		return PersistentSettings{}, false, nil
	}
	configs, err := r.parseAll()
	if err != nil {
		return PersistentSettings{}, false, err
	}
	s, has := configs[0].find(stream, group)
	return s, has, nil
}

// mentions reports whether a string may be in a JSON text. It spares most callers the decoding of megabytes.
func mentions(text []byte, s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"\\/<>&'", c) >= 0 {
			return true // it may be escaped
		}
	}
	return bytes.Contains(text, []byte(`"`+s+`"`))
}

// groupConfigRead reads the server's configuration of its groups. The error is ErrAccessDenied if the user may not read
// it.
func (c *Client) groupConfigRead(ctx context.Context) (*configRead, error) {
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
			return r, nil
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
