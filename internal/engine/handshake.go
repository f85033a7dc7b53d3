package engine

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// authenticate is the operation that makes the credentials of its frame the default ones of the connection.
type authenticate struct{}

func (authenticate) Command() esproto.Command       { return esproto.CmdAuthenticate }
func (authenticate) AppendPayload(b []byte) []byte  { return b }
func (authenticate) Keeps(cmd esproto.Command) bool { return false }

func (authenticate) Decode(cmd esproto.Command, _ []byte) error {
	if cmd != esproto.CmdAuthenticated {
		return &UnexpectedReplyError{Request: esproto.CmdAuthenticate, Reply: cmd}
	}
	return nil
}

// identify is the operation that tells the server the name of the connection, and that the client uses event numbers of
// 64 bits.
type identify struct{ name string }

func (identify) Command() esproto.Command       { return esproto.CmdIdentifyClient }
func (identify) Keeps(cmd esproto.Command) bool { return false }

func (i identify) AppendPayload(b []byte) []byte {
	m := &esproto.IdentifyClient{Version: proto.Int32(esproto.IdentifyVersion), ConnectionName: proto.String(i.name)}
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, m) // fails only if a required field is missing
	return b
}

func (identify) Decode(cmd esproto.Command, _ []byte) error {
	if cmd != esproto.CmdClientIdentified {
		return &UnexpectedReplyError{Request: esproto.CmdIdentifyClient, Reply: cmd}
	}
	return nil
}

// handshake makes a new connection ready for requests. It authenticates first, since servers from 20.x refuse
// operations until they have checked the credentials. If identifyFirst is true, the peer must answer IdentifyClient
// before it gets the credentials, so that only an EventStore gets them.
func handshake(ctx context.Context, c *Conn, creds *esproto.Credentials, name string, identifyFirst bool) error {
	steps := []func() error{
		func() error { return login(ctx, c, creds) },
		func() error {
			_, err := c.Do(ctx, identify{name}, nil)
			return err
		},
	}
	if identifyFirst {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// A server that is starting drops Authenticate without a reply. So login repeats it after a random pause between these
// limits, up to maxLogins times in all.
const (
	shortLoginPause = 500 * time.Millisecond
	longLoginPause  = time.Second
	maxLogins       = 100
)

// loginReply is the reply to the nth Authenticate, counted from 0.
type loginReply struct {
	n   int
	err error
}

// loginCall is the [Receiver] of one Authenticate.
type loginCall struct {
	reply   loginReply
	replies chan<- loginReply // has room for all
}

func (l *loginCall) Keeps(esproto.Command, int) bool { return false }
func (l *loginCall) Wake()                           { l.replies <- l.reply }

func (l *loginCall) Fail(err error, _ bool) {
	l.reply.err = err
	l.replies <- l.reply
}

func (l *loginCall) Receive(cmd esproto.Command, payload []byte) (more bool) {
	l.reply.err = DecodeReply(authenticate{}, cmd, payload)
	return false
}

func (l *loginCall) TooLarge(_ esproto.Command, err error) (more bool) {
	l.reply.err = err
	return false
}

// login makes the server check the credentials. It waits for the reply to the last Authenticate that it has sent: until
// then servers from 20.x refuse operations, even if they have accepted an earlier one.
func login(ctx context.Context, c *Conn, creds *esproto.Credentials) error {
	if creds == nil {
		return nil
	}
	replies := make(chan loginReply, maxLogins)
	var sent []Handle
	defer func() {
		for _, h := range sent {
			h.Remove()
		}
	}()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			l := &loginCall{reply: loginReply{n: len(sent)}, replies: replies}
			h, err := c.Start(ctx, authenticate{}, creds, l)
			if err != nil {
				return err
			}
			if sent = append(sent, h); len(sent) < maxLogins {
				again.Reset(shortLoginPause + rand.N(longLoginPause-shortLoginPause))
			}
		case r := <-replies:
			if r.err != nil || r.n == len(sent)-1 {
				return r.err
			}
			again.Stop()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
