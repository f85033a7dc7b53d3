package esclient_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// script is a server that a test plays, for behaviour that no real server shows on demand: it answers the handshake and
// heartbeats by itself, says of every group that nothing was written about it, and leaves all other frames to the test.
type script struct {
	t        testing.TB
	l        *wiretest.Listener
	requests chan *request

	mu    sync.Mutex
	began map[esproto.CorrelationID]int // the connection on which it was seen first
	lost  []string                      // in order: subscriptions of other connections that were ended, and joins
}

// request is a frame that waits for the test's answer.
type request struct {
	s       *script
	peer    *wiretest.Peer
	cmd     esproto.Command
	id      esproto.CorrelationID
	payload []byte
}

func newScript(t testing.TB) *script {
	s := &script{t: t, requests: make(chan *request, 1000), began: make(map[esproto.CorrelationID]int)}
	s.l = wiretest.Listen(t, s.serve)
	return s
}

func (s *script) serve(p *wiretest.Peer) {
	for {
		f, err := p.Next()
		if err != nil {
			return
		}
		q := &request{s: s, peer: p, cmd: f.Command, id: f.CorrelationID, payload: f.Payload}
		if !p.Greet(f.Header) && !q.looked() && !s.endsLost(q) {
			s.requests <- q
		}
	}
}

// endsLost reports whether a request ends a subscription of another connection, to which servers say nothing. The test
// does not get it, but can look it up in s.lost.
func (s *script) endsLost(q *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch at, known := s.began[q.id]; {
	case !known:
		s.began[q.id] = q.peer.Number
	case q.cmd == esproto.CmdUnsubscribeFromStream && at != q.peer.Number:
		s.lost = append(s.lost, q.id.String())
		return true
	}
	if q.cmd == esproto.CmdConnectToPersistentSubscription {
		s.lost = append(s.lost, "joins")
	}
	return false
}

// next waits for a request of the given command.
func (s *script) next(cmd esproto.Command) *request {
	s.t.Helper()
	select {
	case q := <-s.requests:
		require.Equal(s.t, cmd, q.cmd)
		return q
	case <-time.After(10 * time.Second):
		require.FailNow(s.t, "the client sent nothing", "expected %v", cmd)
		return nil
	}
}

// noEvent is the reply to ReadEvent of a server that has no such stream.
var noEvent = []byte{8, 2, 18, 0}

// looked answers a part of a first look at a group: nothing was written about it.
func (q *request) looked() bool {
	switch q.cmd {
	case esproto.CmdReadEvent:
		var m esproto.ReadEvent
		if proto.Unmarshal(q.payload, &m) == nil && strings.HasPrefix(m.GetEventStreamId(), "$") {
			q.reply(esproto.CmdReadEventCompleted, noEvent)
			return true
		}
	case esproto.CmdReadStreamEventsBackward:
		var m esproto.ReadStreamEvents
		if proto.Unmarshal(q.payload, &m) == nil && strings.HasPrefix(m.GetEventStreamId(), "$") {
			q.reply(esproto.CmdReadStreamEventsBackwardCompleted, noStream)
			return true
		}
	}
	return false
}

func (q *request) reply(cmd esproto.Command, payload []byte) {
	q.peer.Send(cmd, q.id, payload)
}

// written replies to an append.
func (q *request) written(v esproto.WriteEventsCompletedView) {
	q.reply(esproto.CmdWriteEventsCompleted, v.Append(nil, esproto.Explicit))
}

func (q *request) cut() { q.peer.Close() }

// append decodes an append.
func (q *request) append() (v esproto.WriteEventsView) {
	q.s.t.Helper()
	require.NoError(q.s.t, v.Decode(q.payload))
	return v
}

// client connects to the script. change may adapt the configuration.
func (s *script) client(change func(*esclient.Config)) *esclient.Client {
	s.t.Helper()
	cfg := esclient.Config{
		Address:        s.l.Addr(),
		Credentials:    &esclient.Credentials{Login: "admin", Password: "changeit"},
		ReconnectDelay: time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := esclient.New(cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		s.l.Close() // otherwise the client's Close waits for an answer
		c.Close()
	})
	return c
}

// patience is the time limit of tests that wait.
const patience = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

var errStuck = errors.New("the test makes no progress")

// progressContext returns a context for long work. It ends when moved was not called for as long as a test waits.
func progressContext(t testing.TB) (ctx context.Context, moved func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	limit := time.AfterFunc(patience, func() { cancel(errStuck) })
	t.Cleanup(func() {
		limit.Stop()
		cancel(nil)
	})
	return ctx, func() { limit.Reset(patience) }
}
