package esclient

import (
	"cmp"
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// feed is the part of a Subscription on one connection, from SubscribeToStream on. It also ends when its queue is full.
// The events in the queue stay valid.
type feed struct {
	connSubscription
	stream       string // empty for $all
	resolveLinks bool
	filter       *Filter  // nil for none
	here         *matcher // the client's filter; nil for none
	queue        queue

	// The reader owns these until the end.
	cameWeight int64
	considered int      // events that the client has tested since the checkpoint moved
	looked     Position // the next position of the checkpoint; UnknownPosition for none
	pushed     int      // how many events the server has pushed
	weight     int64    // and their weight

	last     int64 // the number of the stream's last event at the confirmation
	position int64 // the commit position of the log's end at the confirmation

	lock sync.Mutex // connSubscription.mu
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
		f := &feed{stream: wire, resolveLinks: resolveLinks, filter: filter, here: here, looked: UnknownPosition}
		f.owner, f.mu, f.told = f, &f.lock, told
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
	byServer := false
	switch cmd {
	case esproto.CmdStreamEventAppeared:
		err = f.push(payload)
	case esproto.CmdCheckpointReached:
		err = f.checkpoint(payload)
	case esproto.CmdSubscriptionConfirmation:
		err = f.confirm(payload)
	default:
		err, byServer = f.endOf(cmd, payload), true
	}
	if err == nil {
		return true
	}
	f.handOver()
	f.end(err, byServer)
	if !byServer {
		f.unsubscribe()
	}
	return false
}

func (f *feed) push(payload []byte) error {
	var v esproto.EventView
	if err := esproto.DecodeStreamEventAppeared(payload, &v); err != nil {
		return unexpected(f, esproto.CmdStreamEventAppeared, err)
	}
	pos := Position{Commit: v.CommitPosition, Prepare: v.PreparePosition}
	if f.here != nil {
		f.consider(pos)
		if !f.here.picksPushed(&v) {
			return nil
		}
	}
	e := f.newEvent(&v, len(payload), pos)
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

// consider counts an event that the client's filter drops. Like a server, it does not move the checkpoint with each
// event: if checkpoints are stored on the same server, each one would lead to the next.
func (f *feed) consider(pos Position) {
	if f.considered++; f.considered >= f.here.interval {
		f.considered, f.looked = 0, pos
	}
}

// handOver gives the received events to the consumer.
func (f *feed) handOver() {
	if len(f.came) > 0 {
		f.queue.push(f.came)
		f.forget()
		f.cameWeight = 0
	}
	if f.here != nil && f.looked != UnknownPosition {
		f.queue.pass(f.looked)
		f.looked = UnknownPosition
	}
}

// checkpoint notes that the server has looked at all events up to a position.
func (f *feed) checkpoint(payload []byte) error {
	var m esproto.CheckpointReached
	if err := f.decode(esproto.CmdCheckpointReached, payload, &m); err != nil {
		return err
	}
	f.handOver()
	f.queue.pass(Position{Commit: m.GetCommitPosition(), Prepare: m.GetPreparePosition()})
	return nil
}

func (f *feed) confirm(payload []byte) error {
	var m esproto.SubscriptionConfirmation
	if err := f.decode(esproto.CmdSubscriptionConfirmation, payload, &m); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		f.unsubscribeAgain()
		return nil
	}
	f.last, f.position = m.GetLastEventNumber(), m.GetLastCommitPosition()
	f.confirmLocked()
	return nil
}

// TooLarge implements engine.Receiver.
func (f *feed) TooLarge(_ esproto.Command, err error) (more bool) {
	f.handOver()
	f.close(fromEngine(err))
	return false
}

// Wake implements engine.Receiver.
func (f *feed) Wake() {
	f.handOver()
	f.queue.signal()
}

// Fail implements engine.Receiver.
func (f *feed) Fail(err error, _ bool) { f.end(fromEngine(err), false) }

func (f *feed) end(reason error, byServer bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endLocked(reason, byServer)
}

// ending implements connSubscriber.
func (f *feed) ending(bool) { f.queue.signal() }

// close implements unconfirmed. The events in the queue stay.
func (f *feed) close(reason error) {
	f.unsubscribe()
	f.end(reason, false)
}
