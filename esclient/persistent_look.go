package esclient

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
	"github.com/watermill-eventstore/watermill-eventstore/internal/notation"
)

// lookTimeout is how long a snapshot of a group may take. Then it is tried again.
const lookTimeout = 700 * time.Millisecond

// parkedLook is how many entries of the parked stream a snapshot reads.
const parkedLook = 200

// look takes the snapshot of a group: it sends some reads at once on one connection. No goroutine waits for them.
type look struct {
	conn   *engine.Conn
	shared *configReads
	creds  *esproto.Credentials
	stream string
	group  string
	number int64 // of the event to find in the stream, with its id; -1 for none
	id     uuid.UUID

	page    *lookRead // of stream; nil if it is not needed
	config  *lookRead
	deleted *lookRead
	parked  *lookRead

	mu    sync.Mutex
	left  int
	then  func()      // called once, after all answers or after the timeout; then nil
	timer *time.Timer // runs while answers are missing
}

// lookRead is one of the reads. The look uses its op after the answer.
type lookRead struct {
	look     *look
	op       engine.Operation // *lastEventOp or *readStreamOp; nil for the configuration, which looks share
	config   *configRead      // the answer if op is nil
	handle   engine.Handle
	err      error // first from Receive, then the result of the read
	answered bool
}

// firstLook prepares the first look. It only reads the values for later comparisons. p.mu is held.
func (p *PersistentSubscription) firstLook(conn *engine.Conn) *look {
	l := &look{
		conn: conn, shared: &p.c.configs, creds: p.creds, stream: p.stream, group: p.group, number: -1,
	}
	l.config = l.read(nil)
	l.deleted = l.read(&lastEventOp{stream: "$$" + checkpointStream(p.stream, p.group)})
	return l
}

// newLook prepares a look that also reads the known event from the stream. p.mu is held.
func (p *PersistentSubscription) newLook(conn *engine.Conn, k *knownStream, parked bool) *look {
	ctx := WithRequireLeader(context.Background(), true)
	l := p.firstLook(conn)
	l.number, l.id = k.number, k.id
	l.page = l.read(p.c.readStreamOp(ctx, p.stream,
		ReadOptions{From: FromNumber(max(l.number, 0)), MaxCount: 1, PageSize: 1}))
	if parked {
		l.parked = l.read(p.c.readStreamOp(ctx, notation.ParkedStream(p.stream, p.group),
			ReadOptions{Backward: true, MaxCount: parkedLook, PageSize: parkedLook}))
	}
	return l
}

func (l *look) read(op engine.Operation) *lookRead { return &lookRead{look: l, op: op} }

func (l *look) reads(f func(*lookRead)) {
	for _, r := range [...]*lookRead{l.page, l.config, l.deleted, l.parked} {
		if r != nil {
			f(r)
		}
	}
}

// start sends the reads. It calls then once, within lookTimeout. The reader may make this call, so it must not block.
// ctx ends the wait for room to send.
func (l *look) start(ctx context.Context, then func()) {
	l.mu.Lock()
	l.then = then
	l.timer = time.AfterFunc(lookTimeout, l.finish)
	l.reads(func(*lookRead) { l.left++ })
	l.mu.Unlock()
	l.shared.ask(newConfigKind(l.conn, l.creds, l.configs()), l.config.share)
	l.reads(func(r *lookRead) {
		if r.op == nil {
			return
		}
		h, err := l.conn.Start(ctx, r.op, l.creds, r)
		if err != nil {
			r.answer(fromEngine(err))
			return
		}
		l.mu.Lock()
		r.handle = h
		over := l.then == nil
		l.mu.Unlock()
		if over { // the time is over
			h.Remove()
		}
	})
}

// configs is how many events of the configuration the look reads.
func (l *look) configs() int {
	if l.page == nil {
		return 1
	}
	return 2
}

// finish takes the answers that have come, and gives up the rest.
func (l *look) finish() {
	l.mu.Lock()
	then := l.then
	l.then = nil
	l.timer.Stop()
	var handles []engine.Handle
	l.reads(func(r *lookRead) {
		if !r.answered && r.op != nil {
			handles = append(handles, r.handle)
		}
	})
	l.mu.Unlock()
	if then == nil {
		return
	}
	for _, h := range handles {
		h.Remove()
	}
	then()
}

// Keeps implements engine.Receiver.
func (r *lookRead) Keeps(cmd esproto.Command, _ int) bool { return r.op.Keeps(cmd) }

// Receive implements engine.Receiver.
func (r *lookRead) Receive(cmd esproto.Command, payload []byte) (more bool) {
	r.err = fromEngine(engine.DecodeReply(r.op, cmd, payload))
	return false
}

// TooLarge implements engine.Receiver.
func (r *lookRead) TooLarge(_ esproto.Command, err error) (more bool) {
	r.err = fromEngine(err)
	return false
}

// share takes the answer that looks share.
func (r *lookRead) share(answer *configRead) {
	r.look.mu.Lock()
	r.config = answer
	r.look.mu.Unlock()
	r.answer(answer.err)
}

// Wake implements engine.Receiver.
func (r *lookRead) Wake() { r.answer(r.err) }

// Fail implements engine.Receiver.
func (r *lookRead) Fail(err error, _ bool) { r.answer(fromEngine(err)) }

func (r *lookRead) answer(err error) {
	l := r.look
	l.mu.Lock()
	if r.answered = l.then != nil; r.answered {
		r.err = err
	}
	l.left--
	last := l.left == 0
	l.mu.Unlock()
	if last {
		l.finish()
	}
}

// result returns the error of a read. The other fields of a read without an answer must not be used: its reply may be
// coming at this moment.
func (r *lookRead) result() error {
	r.look.mu.Lock()
	defer r.look.mu.Unlock()
	if !r.answered {
		return ErrOperationTimeout
	}
	return r.err
}

// snapshot returns the snapshot.
func (l *look) snapshot() *snapshot {
	s := &snapshot{position: -1, stream: streamSnapshot{last: -1}}
	s.complete = true
	l.reads(func(r *lookRead) {
		// A refusal is an answer, too. Only if there is no answer may another look show more.
		if err := r.result(); err != nil && policyFor(err).resume == subResumes {
			s.complete = false
		}
	})
	if events, ok := l.page.events(); ok {
		page := l.page.op.(*readStreamOp)
		s.stream = seeStream(l.number, l.id, page.reply.LastEventNumber, events)
		s.position = page.reply.LastCommitPosition
	}
	l.mu.Lock()
	config := l.config.config
	l.mu.Unlock()
	switch {
	case config == nil:
	case l.page == nil:
		s.config = config.last()
	default:
		s.config = config.see(l.stream, l.group)
	}
	if l.deleted.result() == nil {
		op := l.deleted.op.(*lastEventOp)
		s.deleted = deletedSnapshot{known: true, number: op.number, is: op.deletes}
	}
	if events, ok := l.parked.events(); ok {
		s.parked = seeParked(events, l.stream)
	}
	return s
}

// events returns the events of a page; none if the stream does not exist.
func (r *lookRead) events() (events []Event, ok bool) {
	if r == nil {
		return nil, false
	}
	switch err := r.result(); {
	case errors.Is(err, ErrStreamNotFound):
		return nil, true
	case err != nil:
		return nil, false
	}
	page, err := r.op.(*readStreamOp).page()
	return page.Events, err == nil
}

// lastEventOp reads the last event of a stream.
type lastEventOp struct {
	stream  string
	number  int64 // -1 for none
	id      uuid.UUID
	deletes bool // the event is the metadata of a soft-deleted stream
}

func (o *lastEventOp) Command() esproto.Command   { return esproto.CmdReadEvent }
func (o *lastEventOp) Keeps(esproto.Command) bool { return false }

func (o *lastEventOp) AppendPayload(b []byte) []byte {
	return esproto.AppendReadEvent(b, o.stream, LastEvent, false, true)
}

func (o *lastEventOp) Decode(cmd esproto.Command, payload []byte) error {
	read := readEventOp{stream: o.stream}
	err := read.Decode(cmd, payload)
	switch {
	case errors.Is(err, ErrEventNotFound), errors.Is(err, ErrStreamNotFound):
		o.number = -1
		return nil
	case err != nil:
		return err
	}
	var e Event
	e.fill(&read.reply.Event, UnknownPosition)
	o.number, o.id = e.Number, e.ID
	if strings.HasPrefix(o.stream, metadataPrefix) {
		var meta struct {
			TruncateBefore int64 `json:"$tb"`
		}
		err = e.JSON(&meta)
		o.deletes = meta.TruncateBefore == math.MaxInt64
	}
	return err
}
