package esclient

import (
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
	filter       *Filter // nil for none
	queue        queue
	handle       engine.Handle

	came       []*Event // pushed since the last Wake; the reader's own, as are the next three
	cameWeight int64
	pushed     int   // events in all, and their weight; to be looked at by others only after the end
	weight     int64 // ...
	slab       eventSlab

	confirmed chan struct{} // closed by the confirmation, or by the end
	last      int64         // the stream's last event number at the confirmation
	position  int64         // the log's last commit position at the confirmation

	mu    sync.Mutex
	open  bool  // the server has confirmed it
	ended error // why no more events will be pushed; those in the queue are still good
}

// openFeed subscribes on the current connection and waits for the confirmation. It retries like a read.
func (c *Client) openFeed(
	ctx context.Context, stream string, resolveLinks bool, filter *Filter, limit, maxBytes int,
) (*feed, error) {
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return nil, err
	}
	wire := stream
	if wire == AllStream {
		wire = ""
	}
	var f *feed
	err = c.openStream(ctx, func(conn *engine.Conn) (streamOpener, error) {
		f = &feed{stream: wire, resolveLinks: resolveLinks, filter: filter, confirmed: make(chan struct{})}
		f.queue.init(limit)
		f.queue.maxBytes = int64(maxBytes)
		return f, conn.StartStream(ctx, f, creds, f, func(h engine.Handle) { f.handle = h })
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

func (f *feed) about() (stream, group string) {
	if f.stream == "" {
		return AllStream, ""
	}
	return f.stream, ""
}

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
		if err = engine.CommonReply(cmd, payload); err == nil {
			err = &engine.UnexpectedReplyError{Request: f.Command(), Reply: cmd}
		}
	}
	if err != nil {
		f.handOver()
		f.end(err)
		if cmd == esproto.CmdStreamEventAppeared || cmd == esproto.CmdCheckpointReached {
			f.handle.Post(unsubscribe{}, nil)
		}
	}
	return err == nil
}

func (f *feed) push(payload []byte) error {
	var v esproto.EventView
	if err := esproto.DecodeStreamEventAppeared(payload, &v); err != nil {
		return &engine.UnexpectedReplyError{Request: f.Command(), Reply: esproto.CmdStreamEventAppeared, Err: err}
	}
	pos := Position{Commit: v.CommitPosition, Prepare: v.PreparePosition}
	e := f.slab.newEvent(&v, len(payload), pos, f.handle.Conn().Memory())
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
}

// checkpoint notes that the server has looked at everything up to a position.
func (f *feed) checkpoint(payload []byte) error {
	var m esproto.CheckpointReached
	if err := proto.Unmarshal(payload, &m); err != nil {
		return &engine.UnexpectedReplyError{Request: f.Command(), Reply: esproto.CmdCheckpointReached, Err: err}
	}
	f.handOver()
	f.queue.pass(Position{Commit: m.GetCommitPosition(), Prepare: m.GetPreparePosition()})
	return nil
}

func (f *feed) confirm(payload []byte) error {
	var m esproto.SubscriptionConfirmation
	if err := proto.Unmarshal(payload, &m); err != nil {
		return &engine.UnexpectedReplyError{Request: f.Command(), Reply: esproto.CmdSubscriptionConfirmation, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.confirmed:
		return nil // given up meanwhile
	default:
	}
	f.open, f.last, f.position = true, m.GetLastEventNumber(), m.GetLastCommitPosition()
	close(f.confirmed)
	return nil
}

// TooLarge implements engine.Receiver.
func (f *feed) TooLarge(_ esproto.Command, err error) (more bool) {
	f.handOver()
	f.end(err)
	f.handle.Post(unsubscribe{}, nil)
	return false
}

// Wake implements engine.Receiver.
func (f *feed) Wake() {
	f.handOver()
	f.queue.signal()
}

// Fail implements engine.Receiver.
func (f *feed) Fail(err error, _ bool) { f.end(err) }

func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		return
	}
	f.ended = err
	select {
	case <-f.confirmed:
	default:
		close(f.confirmed)
	}
	f.queue.signal()
}

func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended
}

func (f *feed) opened() <-chan struct{} { return f.confirmed }

func (f *feed) refused() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open {
		return nil
	}
	return f.ended
}

// close tells the server to stop pushing and forgets the subscription. What is in the queue stays.
func (f *feed) close(reason error) {
	if f.handle.Remove() {
		f.handle.Post(unsubscribe{}, nil)
	}
	f.end(reason)
}

// dropError tells why the server ended a subscription. That it did is certain, also where the reason cannot be read.
func dropError(payload []byte) error {
	var m esproto.SubscriptionDropped
	if proto.Unmarshal(payload, &m) != nil {
		return &SubscriptionDroppedError{Reason: DropUnsubscribed}
	}
	return &SubscriptionDroppedError{Reason: m.GetReason()}
}

// unsubscribe ends the subscription whose correlation id it is sent on.
type unsubscribe struct{}

func (unsubscribe) Command() esproto.Command      { return esproto.CmdUnsubscribeFromStream }
func (unsubscribe) AppendPayload(b []byte) []byte { return b }
