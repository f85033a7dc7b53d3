package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Operation is a request with one reply.
type Operation interface {
	Request
	// Keeps reports whether Decode will keep the payload of cmd. It runs under the connection's lock.
	Keeps(cmd esproto.Command) bool
	// Decode reads the reply, on the reader goroutine, into the operation. Its error ends the call.
	Decode(cmd esproto.Command, payload []byte) error
}

// NotHandledError is the server's word that it did not process a request, and why.
type NotHandledError struct {
	Reason esproto.NotHandled_NotHandledReason
	// Leader tells, with NotLeader and IsReadOnly, where the leader is. It may be nil, and so may any of its fields.
	Leader *esproto.NotHandled_LeaderInfo
}

func (e *NotHandledError) Error() string {
	s := fmt.Sprintf("esclient: the server did not handle the request: %v", e.Reason)
	plain, ok := e.LeaderEndpoint(false)
	if secure, too := e.LeaderEndpoint(true); too && secure != plain {
		plain, ok = strings.TrimPrefix(plain+" and with TLS "+secure, " and "), true
	}
	if ok {
		s += ": the leader is at " + plain
	}
	return s
}

// Transient reports a server that will take the request soon: it starts, takes part in an election, or has much to do.
func (e *NotHandledError) Transient() bool {
	return e.Reason == esproto.NotHandled_NotReady || e.Reason == esproto.NotHandled_TooBusy
}

// LeaderEndpoint returns the TCP endpoint, host:port, at which the leader is to be reached with or without TLS; ok is
// false where the server named none.
func (e *NotHandledError) LeaderEndpoint(tls bool) (endpoint string, ok bool) {
	if e.Leader == nil {
		return "", false
	}
	host, port := e.Leader.GetExternalTcpAddress(), e.Leader.GetExternalTcpPort()
	if tls {
		host, port = e.Leader.GetExternalSecureTcpAddress(), e.Leader.GetExternalSecureTcpPort()
	}
	if host == "" || port <= 0 || port > 1<<16-1 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), true
}

// CommonReply turns the replies that any request may get into an error; nil for all others.
func CommonReply(cmd esproto.Command, payload []byte) error {
	switch cmd {
	case esproto.CmdBadRequest:
		return &BadRequestError{Text: string(payload)}
	case esproto.CmdNotAuthenticated:
		return &NotAuthenticatedError{Text: string(payload)}
	case esproto.CmdNotHandled:
		return notHandled(payload)
	}
	return nil
}

func notHandled(payload []byte) error {
	var m esproto.NotHandled
	if err := proto.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("%w: NotHandled: %w", esproto.ErrMalformed, err)
	}
	e := &NotHandledError{Reason: m.GetReason()}
	if e.Reason == esproto.NotHandled_NotLeader || e.Reason == esproto.NotHandled_IsReadOnly {
		var info esproto.NotHandled_LeaderInfo
		if proto.Unmarshal(m.GetAdditionalInfo(), &info) == nil {
			e.Leader = &info
		}
	}
	return e
}

// call is the Receiver of an Operation. Calls are used again, which Remove makes safe: nobody hands a frame to a call
// that was removed.
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
	if c.err = CommonReply(cmd, payload); c.err == nil {
		c.err = c.op.Decode(cmd, payload)
	}
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

// Do sends an operation and waits for its reply, for the end of ctx, or for the end of the connection. sent is false if
// the server cannot have seen the request.
func (c *Conn) Do(ctx context.Context, op Operation, creds *esproto.Credentials) (sent bool, err error) {
	p, err := c.Begin(ctx, op, creds)
	if err != nil {
		return false, err
	}
	return p.Wait(ctx)
}

// Pending is an operation that was sent, and whose reply is decoded into it when it comes. Wait or Cancel must be
// called, once. The zero Pending is no operation.
type Pending struct {
	call        *call
	handle      Handle
	watchedDone <-chan struct{} // of the context that is watched for it
}

// Begin sends an operation. After an error nothing was sent.
func (c *Conn) Begin(ctx context.Context, op Operation, creds *esproto.Credentials) (Pending, error) {
	return c.begin(ctx, op, creds, 0)
}

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

// Conn returns the connection on which the operation was sent; nil for the zero Pending.
func (p Pending) Conn() *Conn { return p.handle.Conn() }

// Wait waits as Do does.
func (p Pending) Wait(ctx context.Context) (sent bool, err error) {
	if ended := ctx.Done(); ended == p.watchedDone {
		<-p.call.done // ctx never ends, or is watched
	} else {
		select {
		case <-p.call.done:
		case <-ended:
			if p.handle.Remove() {
				p.call.recycle()
				return true, context.Cause(ctx) // even if not written yet, it will be
			}
			<-p.call.done // the reply is just being read, or the connection is just dying
		}
	}
	sent, err = p.call.sent, p.call.err
	p.call.recycle()
	if errors.Is(err, ErrOperationTimeout) {
		err = &timedOutError{p.handle, err}
	}
	return sent, err
}

// Cancel gives the reply up. The operation is not touched any more when it returns.
func (p Pending) Cancel() {
	if p.call == nil {
		return
	}
	if !p.handle.Remove() {
		<-p.call.done
	}
	p.call.recycle()
}

func (c *call) recycle() {
	c.op, c.err, c.sent = nil, nil, false
	callPool.Put(c)
}
