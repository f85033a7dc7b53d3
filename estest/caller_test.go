package estest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// recorded is a frame that a recorder got.
type recorded struct {
	cmd     esproto.Command
	id      esproto.CorrelationID
	pushed  bool
	payload []byte
}

// recorder keeps the replies to a caller.
type recorder struct{ answers []recorded }

func (r *recorder) open(cmd esproto.Command, id esproto.CorrelationID, pushed bool) ([]byte, bool) {
	r.answers = append(r.answers, recorded{cmd: cmd, id: id, pushed: pushed})
	return nil, true
}

func (r *recorder) seal(b []byte) { r.answers[len(r.answers)-1].payload = b }

// decode reads the only answer there is, and forgets it.
func (r *recorder) decode(t *testing.T, cmd esproto.Command, m proto.Message) {
	t.Helper()
	require.Len(t, r.answers, 1)
	require.Equal(t, cmd, r.answers[0].cmd)
	require.NoError(t, proto.Unmarshal(r.answers[0].payload, m))
	r.answers = nil
}

// newCaller returns a caller of a server without sockets, and the recorder of its replies.
func newCaller(t *testing.T, p Persona) (*caller, *recorder) {
	t.Helper()
	persona, err := personaOf(p)
	require.NoError(t, err)
	core := newCore(persona, slog.New(slog.DiscardHandler), NewClock(time.Date(2024, 5, 21, 10, 21, 33, 0, time.UTC)))
	require.NoError(t, core.begin(&config{}))
	r := new(recorder)
	return &caller{core: core, to: r, scratch: new(scratch)}, r
}

func request(t *testing.T, cmd esproto.Command, m proto.Message) *frame {
	t.Helper()
	payload, err := proto.Marshal(m)
	require.NoError(t, err)
	return &frame{cmd: cmd, id: esproto.CorrelationID(eventlog.NewGUID()), user: eventlog.System, payload: payload}
}

func appendRequest(t *testing.T, stream string) *frame {
	t.Helper()
	id := eventlog.NewGUID()
	return request(t, esproto.CmdWriteEvents, &esproto.WriteEvents{
		EventStreamId: &stream, ExpectedVersion: proto.Int64(esproto.ExpectAny), RequireLeader: proto.Bool(false),
		Events: []*esproto.NewEvent{{
			EventId: id[:], EventType: proto.String("T"), DataContentType: proto.Int32(0),
			MetadataContentType: proto.Int32(0), Data: []byte{},
		}},
	})
}

func TestAnyReplierGetsTheAnswers(t *testing.T) {
	c, r := newCaller(t, Persona2310)
	var m esproto.SubscribeToStream
	m.EventStreamId, m.ResolveLinkTos = proto.String("s"), proto.Bool(false)
	subscribe := request(t, esproto.CmdSubscribeToStream, &m)
	require.NoError(t, commands[subscribe.cmd].serve(c, subscribe))
	r.decode(t, esproto.CmdSubscriptionConfirmation, new(esproto.SubscriptionConfirmation))

	write := appendRequest(t, "s")
	require.NoError(t, commands[write.cmd].serve(c, write))
	require.Len(t, r.answers, 2)
	pushed, answered := r.answers[0], r.answers[1]
	assert.Equal(t, esproto.CmdStreamEventAppeared, pushed.cmd)
	assert.True(t, pushed.pushed)
	assert.Equal(t, subscribe.id, pushed.id)
	assert.Equal(t, esproto.CmdWriteEventsCompleted, answered.cmd)
	assert.False(t, answered.pushed)
	assert.Equal(t, write.id, answered.id)
}

// If another node executes a request, the client's node sends the reply, and the other node writes to its own log.
func TestARequestIsServedAtAnotherNode(t *testing.T) {
	c, r := newCaller(t, Persona5011)
	there, _ := newCaller(t, Persona5011)
	write := appendRequest(t, "s")
	require.NoError(t, commands[write.cmd].serve(c.at(there.core), write))
	var reply esproto.WriteEventsCompleted
	r.decode(t, esproto.CmdWriteEventsCompleted, &reply)
	assert.Equal(t, esproto.OperationResult_Success, reply.GetResult())
	assert.EqualValues(t, -1, c.core.log.LastNumber("s"))
	assert.Zero(t, there.core.log.LastNumber("s"))
}

func TestARequestMayBeServedWithoutAnAnswer(t *testing.T) {
	c, r := newCaller(t, Persona5011)
	write := appendRequest(t, "s")
	require.NoError(t, commands[write.cmd].serve(c.unanswered(), write))
	assert.Empty(t, r.answers)
	assert.Zero(t, c.core.log.LastNumber("s"))
}

// The reply to a late write says that the write may or may not have happened.
func TestLateWritesAreAnswered(t *testing.T) {
	c, r := newCaller(t, Persona5011)
	for cmd, reply := range map[esproto.Command]interface {
		proto.Message
		GetResult() esproto.OperationResult
	}{
		esproto.CmdWriteEvents:       new(esproto.WriteEventsCompleted),
		esproto.CmdDeleteStream:      new(esproto.DeleteStreamCompleted),
		esproto.CmdTransactionStart:  new(esproto.TransactionStartCompleted),
		esproto.CmdTransactionWrite:  new(esproto.TransactionWriteCompleted),
		esproto.CmdTransactionCommit: new(esproto.TransactionCommitCompleted),
	} {
		commands[cmd].late(c, &frame{cmd: cmd})
		r.decode(t, cmd+1, reply)
		assert.Equal(t, esproto.OperationResult_CommitTimeout, reply.GetResult(), cmd)
	}
	for cmd, command := range commands {
		if command != nil && command.writes && command.node != leaderForward {
			command.late(c, &frame{cmd: esproto.Command(cmd)})
			assert.Empty(t, r.answers, "%s: the server has no reply for it", esproto.Command(cmd))
		}
	}
}
