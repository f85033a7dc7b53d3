package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Operation is a request with a single reply.
type Operation interface {
	Request
	// Keeps reports whether Decode will keep the payload of cmd. It runs under the connection's lock.
	Keeps(cmd esproto.Command) bool
	// Decode decodes the reply into the operation. It runs on the reader goroutine. Its error becomes that of the call.
	Decode(cmd esproto.Command, payload []byte) error
}

// DecodeReply reads a reply into its operation, unless it is one that any request may get. Its error ends the call.
func DecodeReply(op Operation, cmd esproto.Command, payload []byte) error {
	if err := CommonReply(cmd, payload); err != nil {
		return err
	}
	return op.Decode(cmd, payload)
}

// call is the [Receiver] of an [Operation]. Calls are pooled. That is safe because a call is removed from the table of
// Receivers before it goes back to the pool, and a removed call gets no frame.
type call struct {
	op   Operation
	err  error
	sent bool
	done chan struct{}
}

var callPool = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func (c *call) Keeps(cmd esproto.Command, _ int) bool { return c.op.Keeps(cmd) }

func (c *call) Receive(cmd esproto.Command, payload []byte) bool {
	c.sent = true
	c.err = DecodeReply(c.op, cmd, payload)
	return false
}

func (c *call) TooLarge(_ esproto.Command, err error) bool {
	c.err, c.sent = err, true
	return false
}

func (c *call) Wake() { c.done <- struct{}{} }

func (c *call) Fail(err error, sent bool) {
	c.err, c.sent = err, sent
	c.done <- struct{}{}
}

// Do sends an operation and waits for its reply, the end of ctx, or the end of the connection. sent is false if the
// server cannot have the whole request.
func (c *Conn) Do(ctx context.Context, op Operation, creds *esproto.Credentials) (sent bool, err error) {
	cl := callPool.Get().(*call)
	cl.op = op
	h, err := c.start(ctx, op, creds, cl, 0)
	switch {
	case err != nil:
		cl.recycle()
		return false, err
	case h.watched:
		<-cl.done
	default:
		if err := cl.wait(ctx, h); err != nil {
			return true, err
		}
	}
	return cl.result(h)
}

// Pending is a sent operation. The reader decodes the reply into it as soon as the reply comes. The caller must call
// either [Pending.Wait] or [Pending.Cancel], once. The zero Pending is no operation.
type Pending struct {
	call        *call
	handle      Handle
	watchedDone <-chan struct{} // Done of the context whose contextWatcher fails the call; nil for none
}

// Begin sends an operation and does not wait for the reply. If it returns an error, nothing was sent.
func (c *Conn) Begin(ctx context.Context, op Operation, creds *esproto.Credentials) (Pending, error) {
	return c.begin(ctx, op, creds, 0)
}

// begin is Begin for a call that repeats the call with the number earlier; 0 for none.
func (c *Conn) begin(
	ctx context.Context, op Operation, creds *esproto.Credentials, earlier uint64,
) (Pending, error) {
	cl := callPool.Get().(*call)
	cl.op = op
	h, err := c.start(ctx, op, creds, cl, earlier)
	if err != nil {
		cl.recycle()
		return Pending{}, err
	}
	p := Pending{call: cl, handle: h}
	if h.watched {
		p.watchedDone = ctx.Done()
	}
	return p, nil
}

// Conn returns the connection that the operation was sent on; nil for the zero Pending.
func (p Pending) Conn() *Conn { return p.handle.Conn() }

// Wait waits for the reply, as [Conn.Do] does.
func (p Pending) Wait(ctx context.Context) (sent bool, err error) {
	if ctx.Done() == p.watchedDone {
		<-p.call.done // ctx never ends, or its watcher fails the call
	} else if err := p.call.wait(ctx, p.handle); err != nil {
		return true, err
	}
	return p.call.result(p.handle)
}

// wait waits until the call has its reply or its error. If ctx ends before that, wait recycles the call and returns the
// cause. The request was sent: it is in the write buffer and will be written.
func (c *call) wait(ctx context.Context, h Handle) error {
	select {
	case <-c.done:
	case <-ctx.Done():
		if h.Remove() {
			c.recycle()
			return context.Cause(ctx)
		}
		<-c.done // another goroutine has removed the call and is about to end it
	}
	return nil
}

// result recycles a call that has ended, and returns how it ended.
func (c *call) result(h Handle) (sent bool, err error) {
	sent, err = c.sent, c.err
	c.recycle()
	if err != nil && errors.Is(err, ErrOperationTimeout) {
		err = &TimedOutError{h, err}
	}
	return sent, err
}

// Cancel discards the reply. After it returns, the connection does not use the operation any more.
func (p Pending) Cancel() {
	if p.call == nil {
		return
	}
	if !p.handle.Remove() {
		<-p.call.done
	}
	p.call.recycle()
}

// recycle puts the call back into the pool.
func (c *call) recycle() {
	c.op, c.err, c.sent = nil, nil, false
	callPool.Put(c)
}
