package estest_test

import (
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// patience is the longest time that a test waits for a condition, eagerness the time between two looks.
const (
	patience  = time.Minute
	eagerness = time.Millisecond
)

// peer is a client that a test controls. By itself it only answers heartbeats.
type peer struct {
	t  testing.TB
	s  *estest.Server
	nc net.Conn
	fr *esproto.FrameReader
}

// reply is a frame from the server.
type reply struct {
	cmd     esproto.Command
	id      esproto.CorrelationID
	payload []byte
}

var (
	admin = &esproto.Credentials{Login: "admin", Password: "changeit"}
	ops   = &esproto.Credentials{Login: "ops", Password: "changeit"}
)

// dial connects without a word.
func dial(t testing.TB, s *estest.Server) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return &peer{t: t, s: s, nc: nc, fr: esproto.NewFrameReader(nc, 64<<10, esproto.MaxFrameSize)}
}

// connect connects and identifies the client, as a client of today does.
func connect(t testing.TB, s *estest.Server) *peer {
	t.Helper()
	p := dial(t, s)
	p.ask(esproto.CmdIdentifyClient, nil, &esproto.IdentifyClient{Version: proto.Int32(1)}, &esproto.ClientIdentified{})
	return p
}

// connectAs connects and authenticates.
func connectAs(t testing.TB, s *estest.Server, as *esproto.Credentials) *peer {
	t.Helper()
	p := connect(t, s)
	id := p.send(esproto.CmdAuthenticate, as, nil)
	require.Equal(t, esproto.CmdAuthenticated, p.answer(id).cmd)
	return p
}

func frameOf(
	t testing.TB, cmd esproto.Command, id esproto.CorrelationID, as *esproto.Credentials, m proto.Message,
) []byte {
	t.Helper()
	b := esproto.AppendHeader(nil, cmd, id, as)
	if m != nil {
		payload, err := proto.Marshal(m)
		require.NoError(t, err)
		b = append(b, payload...)
	}
	esproto.EndFrame(b, 0)
	return b
}

func newID() esproto.CorrelationID { return esproto.CorrelationID(uuid.New()) }

// send sends a request and returns its correlation id.
func (p *peer) send(cmd esproto.Command, as *esproto.Credentials, m proto.Message) esproto.CorrelationID {
	p.t.Helper()
	id := newID()
	p.write(frameOf(p.t, cmd, id, as, m))
	return id
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_, err := p.nc.Write(b)
	require.NoError(p.t, err)
}

// next returns the next frame that is no heartbeat; ok is false if the server has closed the connection.
func (p *peer) next() (r reply, ok bool) {
	p.t.Helper()
	require.NoError(p.t, p.nc.SetReadDeadline(time.Now().Add(patience)))
	for {
		h, _, err := p.fr.Next()
		if ne, is := err.(net.Error); is && ne.Timeout() { //nolint:errorlint // as the connection returns it
			p.t.Fatal("the server is silent")
		}
		if err != nil {
			return r, false
		}
		payload, err := p.fr.Take()
		require.NoError(p.t, err)
		if h.Command == esproto.CmdHeartbeatRequest {
			p.write(frameOf(p.t, esproto.CmdHeartbeatResponse, h.CorrelationID, nil, nil))
			continue
		}
		return reply{cmd: h.Command, id: h.CorrelationID, payload: payload}, true
	}
}

// answer returns the next frame, which must belong to id.
func (p *peer) answer(id esproto.CorrelationID) reply {
	p.t.Helper()
	r, ok := p.next()
	require.True(p.t, ok, "the server has closed the connection")
	require.Equal(p.t, id, r.id, "a frame of another request: %v", r.cmd)
	return r
}

// ask sends a request and reads its reply into out.
func (p *peer) ask(cmd esproto.Command, as *esproto.Credentials, m, out proto.Message) reply {
	p.t.Helper()
	r := p.answer(p.send(cmd, as, m))
	require.NotContains(p.t, []esproto.Command{esproto.CmdBadRequest, esproto.CmdNotAuthenticated}, r.cmd,
		"%s", r.payload)
	r.into(p.t, out)
	return r
}

// refused sends a request that must be answered by a BadRequest.
func (p *peer) refused(cmd esproto.Command, as *esproto.Credentials, m proto.Message) {
	p.t.Helper()
	r := p.answer(p.send(cmd, as, m))
	require.Equal(p.t, esproto.CmdBadRequest, r.cmd)
	require.NotEmpty(p.t, r.payload)
}

func (r reply) into(t testing.TB, m proto.Message) {
	t.Helper()
	require.NoError(t, proto.Unmarshal(r.payload, m), "%v", r.cmd)
}

// newEvent is an event with a fresh id.
func newEvent(typ, data string) *esproto.NewEvent {
	id := esproto.NewGUID(uuid.New())
	return &esproto.NewEvent{EventId: id[:], EventType: &typ, DataContentType: proto.Int32(0),
		MetadataContentType: proto.Int32(0), Data: []byte(data)}
}

// append writes events and returns the reply.
func (p *peer) append(
	as *esproto.Credentials, stream string, expected int64, events ...*esproto.NewEvent,
) *esproto.WriteEventsCompleted {
	p.t.Helper()
	var r esproto.WriteEventsCompleted
	p.ask(esproto.CmdWriteEvents, as, &esproto.WriteEvents{
		EventStreamId: &stream, ExpectedVersion: &expected, Events: events, RequireLeader: proto.Bool(false),
	}, &r)
	return &r
}

// mustAppend is append that must succeed.
func (p *peer) mustAppend(
	as *esproto.Credentials, stream string, events ...*esproto.NewEvent,
) *esproto.WriteEventsCompleted {
	p.t.Helper()
	r := p.append(as, stream, esproto.ExpectAny, events...)
	require.Equal(p.t, esproto.OperationResult_Success, r.GetResult(), r.GetMessage())
	return r
}

// read reads a page forward.
func (p *peer) read(
	as *esproto.Credentials, stream string, from int64, count int32, resolve bool,
) *esproto.ReadStreamEventsCompleted {
	p.t.Helper()
	return p.readPage(esproto.CmdReadStreamEventsForward, as, stream, from, count, resolve)
}

func (p *peer) readPage(
	cmd esproto.Command, as *esproto.Credentials, stream string, from int64, count int32, resolve bool,
) *esproto.ReadStreamEventsCompleted {
	p.t.Helper()
	var r esproto.ReadStreamEventsCompleted
	p.ask(cmd, as, &esproto.ReadStreamEvents{EventStreamId: &stream, FromEventNumber: &from, MaxCount: &count,
		ResolveLinkTos: &resolve, RequireLeader: proto.Bool(false)}, &r)
	return &r
}
