package esclient

import (
	"cmp"
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// feed is one subscription at the server, on one connection: what SubscribeToStream starts. It ends with the
// connection, when the server drops it or when its queue is full, and is then replaced by another.
type feed struct {
	stream       string // empty for $all
	resolveLinks bool
	filter       *Filter  // nil for none
	here         *matcher // what the client filters; nil for nothing
	queue        queue
	handle       engine.Handle

	came       []*Event // pushed since the last Wake; the reader's own, as are the next three
	cameWeight int64
	looked     Position // of the last event since the last Wake that the client has not picked
	pushed     int      // events in all, and their weight; to be looked at by others only after the end
	weight     int64    // ...
	slab       eventSlab

	told     chan struct{} // gets a token when the server has confirmed it, and at the end
	last     int64         // the stream's last event number at the confirmation
	position int64         // the log's last commit position at the confirmation

	mu    sync.Mutex
	open  bool  // the server has confirmed it
	ended error // why no more events will be pushed; those in the queue are still good
}

// openFeed subscribes on the current connection and waits for the confirmation. It retries like a read.
func (c *Client) openFeed(
	ctx context.Context, stream string, resolveLinks bool, filter *Filter, here *matcher, limit, maxBytes int,
) (*feed, error) {
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return nil, err
	}
	wire := stream
	if wire == AllStream {
		wire = ""
	}
	f, err := openSubscription(ctx, c, func(conn *engine.Conn, told chan struct{}) (*feed, error) {
		f := &feed{stream: wire, resolveLinks: resolveLinks, filter: filter, here: here, told: told}
		f.looked = UnknownPosition
		f.queue.init(limit)
		f.queue.maxBytes = int64(maxBytes)
		return f, conn.StartSubscription(ctx, f, creds, f, func(h engine.Handle) { f.handle = h })
	})
	if err != nil {
		return nil, filter.explain(err)
	}
	return f, nil
}

func (f *feed) Command() esproto.Command {
	if f.filter != nil {
		return esproto.CmdFilteredSubscribeToStream
	}
	return esproto.CmdSubscribeToStream
}

func (f *feed) about() (stream, group string) { return cmp.Or(f.stream, AllStream), "" }

func (f *feed) AppendPayload(b []byte) []byte {
	if f.filter != nil {
		return f.filter.appendSubscribe(b, f.resolveLinks)
	}
	return appendMessage(b, &esproto.SubscribeToStream{
		EventStreamId: proto.String(f.stream), ResolveLinkTos: proto.Bool(f.resolveLinks),
	})
}

func (f *feed) Keeps(cmd esproto.Command, n int) bool {
	return cmd == esproto.CmdStreamEventAppeared && keepsPayload(n)
}

func (f *feed) Receive(cmd esproto.Command, payload []byte) (more bool) {
	var err error
	switch cmd {
	case esproto.CmdStreamEventAppeared:
		err = f.push(payload)
	case esproto.CmdCheckpointReached:
		err = f.checkpoint(payload)
	case esproto.CmdSubscriptionConfirmation:
		err = f.confirm(payload)
	case esproto.CmdSubscriptionDropped:
		err = dropError(payload)
	default:
		if err = commonReply(cmd, payload); err == nil {
			err = unexpected(f, cmd, nil)
		}
	}
	if err != nil {
		f.handOver()
		f.end(err)
		switch cmd {
		case esproto.CmdStreamEventAppeared, esproto.CmdCheckpointReached, esproto.CmdSubscriptionConfirmation:
			f.handle.Unsubscribe(nil) // it is there
		}
	}
	return err == nil
}

func (f *feed) push(payload []byte) error {
	var v esproto.EventView
	if err := esproto.DecodeStreamEventAppeared(payload, &v); err != nil {
		return unexpected(f, esproto.CmdStreamEventAppeared, err)
	}
	pos := Position{Commit: v.CommitPosition, Prepare: v.PreparePosition}
	if f.here != nil && !f.here.picksPushed(&v) {
		f.looked = pos
		return nil
	}
	e := f.slab.newEvent(&v, len(payload), pos, f.handle.Conn().Memory())
	if f.resolveLinks {
		e.markUnresolved()
	}
	w := weight(e)
	f.pushed++
	f.weight += w
	if !f.queue.admits(w, len(f.came), f.cameWeight) {
		return ErrSlowConsumer
	}
	f.came = append(f.came, e)
	f.cameWeight += w
	return nil
}

// handOver gives what came together to the consumer.
func (f *feed) handOver() {
	if len(f.came) > 0 {
		f.queue.push(f.came)
		clear(f.came)
		f.came, f.cameWeight = f.came[:0], 0
	}
	if f.here != nil && f.looked != UnknownPosition {
		f.queue.pass(f.looked)
		f.looked = UnknownPosition
	}
}

// checkpoint notes that the server has looked at everything up to a position.
func (f *feed) checkpoint(payload []byte) error {
	var m esproto.CheckpointReached
	if err := proto.Unmarshal(payload, &m); err != nil {
		return unexpected(f, esproto.CmdCheckpointReached, err)
	}
	f.handOver()
	f.queue.pass(Position{Commit: m.GetCommitPosition(), Prepare: m.GetPreparePosition()})
	return nil
}

func (f *feed) confirm(payload []byte) error {
	var m esproto.SubscriptionConfirmation
	if err := proto.Unmarshal(payload, &m); err != nil {
		return unexpected(f, esproto.CmdSubscriptionConfirmation, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		// It was given up just now: an Unsubscribe from before the confirmation may have come to nothing.
		f.handle.Post(engine.Unsubscribe{}, nil)
		return nil
	}
	f.open, f.last, f.position = true, m.GetLastEventNumber(), m.GetLastCommitPosition()
	signal(f.told)
	return nil
}

// TooLarge implements engine.Receiver.
func (f *feed) TooLarge(_ esproto.Command, err error) (more bool) {
	f.handOver()
	f.end(fromEngine(err))
	f.handle.Unsubscribe(nil)
	return false
}

// Wake implements engine.Receiver.
func (f *feed) Wake() {
	f.handOver()
	f.queue.signal()
}

// Fail implements engine.Receiver.
func (f *feed) Fail(err error, _ bool) { f.end(fromEngine(err)) }

func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endLocked(err)
}

// endLocked is the one place where a feed ends. The first call counts. f.mu is held.
func (f *feed) endLocked(err error) {
	if f.ended == nil {
		f.ended = err
		signal(f.told)
		f.queue.signal()
	}
}

func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended
}

func (f *feed) outcome() (settled bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open {
		return true, nil
	}
	return f.ended != nil, f.ended
}

func (f *feed) giveUp(reason error) (confirmed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open && f.ended == nil {
		f.endLocked(reason)
		f.handle.Unsubscribe(nil)
	}
	return f.open
}

// close tells the server to stop pushing and forgets the subscription. What is in the queue stays.
func (f *feed) close(reason error) {
	f.handle.Unsubscribe(nil)
	f.end(reason)
}

// dropError tells why the server ended a subscription. That it did is certain, also where the reason cannot be read.
func dropError(payload []byte) error {
	var m esproto.SubscriptionDropped
	if proto.Unmarshal(payload, &m) != nil {
		return &SubscriptionDroppedError{Reason: DropUnsubscribed}
	}
	return &SubscriptionDroppedError{Reason: DropReason(m.GetReason())}
}
