package esclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// several cannot be compared with itself.
type several []error

func (s several) Error() string   { return "several" }
func (s several) Unwrap() []error { return s }

func TestErrorsOfTheEngineBecomeOurs(t *testing.T) {
	t.Parallel()
	leader := &esproto.NotHandled_LeaderInfo{
		ExternalTcpAddress: proto.String("10.1.2.3"), ExternalTcpPort: proto.Int32(1113),
		ExternalSecureTcpAddress: proto.String("10.1.2.3"), ExternalSecureTcpPort: proto.Int32(1115),
	}
	for what, tt := range map[string]struct{ engine, ours error }{
		"closed":            {engine.ErrClosed, ErrClosed},
		"operation timeout": {engine.ErrOperationTimeout, ErrOperationTimeout},
		"heartbeat timeout": {engine.ErrHeartbeatTimeout, ErrHeartbeatTimeout},
		"no EventStore":     {engine.ErrNotEventStore, ErrNotEventStore},
		"not authenticated": {engine.ErrNotAuthenticated, ErrNotAuthenticated},
		"connection": {
			&engine.ConnectionError{Endpoint: "a:1", Err: engine.ErrClosed},
			&ConnectionError{Endpoint: "a:1", Err: ErrClosed},
		},
		"not connected": {
			&engine.NotConnectedError{Err: context.Canceled, Last: &engine.ConnectionError{Err: io.EOF}},
			&NotConnectedError{Err: context.Canceled, Last: &ConnectionError{Err: io.EOF}},
		},
		"never connected": {
			&engine.NotConnectedError{Err: context.Canceled}, &NotConnectedError{Err: context.Canceled},
		},
		"credentials": {&engine.NotAuthenticatedError{Text: "no"}, &NotAuthenticatedError{Text: "no"}},
		"bad request": {&engine.BadRequestError{Text: "no"}, &BadRequestError{Text: "no"}},
		"not leader": {
			&engine.NotHandledError{Reason: esproto.NotHandled_NotLeader, Leader: leader},
			&NotHandledError{Reason: ReasonNotLeader, Leader: "10.1.2.3:1113", LeaderTLS: "10.1.2.3:1115"},
		},
		"not ready": {
			&engine.NotHandledError{Reason: esproto.NotHandled_NotReady}, &NotHandledError{Reason: ReasonNotReady},
		},
		"another reply": {
			&engine.UnexpectedReplyError{Request: esproto.CmdPing, Reply: esproto.CmdWriteEvents},
			&UnexpectedReplyError{Request: "Ping", Reply: "WriteEvents"},
		},
		"transient": {
			&engine.TransientError{Err: &engine.ConnectionError{Err: io.EOF}}, &passing{&ConnectionError{Err: io.EOF}},
		},
		"transient for a reason of others": {&engine.TransientError{Err: io.EOF}, &passing{io.EOF}},
	} {
		assert.Equal(t, tt.ours, fromEngine(tt.engine), what)
		assert.Equal(t, tt.engine.Error(), fromEngine(tt.engine).Error(), what)
	}
	assert.NoError(t, fromEngine(nil))

	// A Discoverer goes by that.
	var e interface{ Transient() bool }
	require.ErrorAs(t, fromEngine(&engine.TransientError{Err: engine.ErrClosed}), &e)
	assert.True(t, e.Transient())

	large := fromEngine(&esproto.FrameTooLargeError{
		Header: esproto.Header{Command: esproto.CmdPong}, Length: 20, Max: 10,
	})
	assert.Equal(t, &FrameTooLargeError{Reply: "Pong", Length: 20, Max: 10}, large)
	assert.ErrorContains(t, large, "Config.MaxFrameSize", "what to do")
}

func TestCausesBelowAreKept(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
	before := fmt.Errorf("gave up: %w (%w)", engine.ErrClosed,
		fmt.Errorf("because %w", &engine.ConnectionError{Endpoint: "a:1", Err: errors.Join(
			fmt.Errorf("%w within 1s", engine.ErrHeartbeatTimeout), several{dial},
		)}))
	err := fromEngine(before)
	assert.Equal(t, before.Error(), err.Error())
	for _, is := range []error{ErrClosed, ErrHeartbeatTimeout, io.ErrUnexpectedEOF} {
		require.ErrorIs(t, err, is)
	}
	for _, not := range []error{engine.ErrClosed, engine.ErrHeartbeatTimeout} {
		assert.NotErrorIs(t, err, not)
	}
	var (
		lost *ConnectionError
		op   *net.OpError
		many several
		was  *engine.ConnectionError
	)
	require.ErrorAs(t, err, &lost)
	assert.Equal(t, "a:1", lost.Endpoint)
	require.ErrorAs(t, err, &op)
	assert.Same(t, dial, op)
	require.ErrorAs(t, err, &many)
	assert.NotErrorAs(t, err, &was)

	for _, others := range []error{
		io.EOF, several{io.EOF}, fmt.Errorf("no: %w", io.EOF), errors.Join(io.EOF, several{dial}), ErrClosed,
		&OperationError{Err: ErrClosed},
	} {
		assert.Equal(t, others, fromEngine(others), "it is not touched")
	}
}

func TestAnErrorThatHasNothingOfTheEngineCostsNothing(t *testing.T) {
	err := fmt.Errorf("no: %w", ErrStreamNotFound)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = fromEngine(nil); _ = fromEngine(err) }))
}

func TestValuesAreThoseOfTheProtocol(t *testing.T) {
	t.Parallel()
	assert.EqualValues(t, esproto.ExpectAny, Any)
	assert.EqualValues(t, esproto.ExpectNoStream, NoStream)
	assert.EqualValues(t, esproto.ExpectStreamExists, StreamExists)
	assert.Equal(t, esproto.InvalidEventNumber, UnknownVersion)
	assert.EqualValues(t, esproto.ContentTypeJSON, ContentTypeJSON)
	assert.Equal(t, esproto.MaxEventSize, MaxEventSize)
	assert.Equal(t, esproto.MaxFrameSize, MaxAppendSize)
	assert.Equal(t, esproto.MaxReadCount, MaxPageSize)

	// What only the protocol calls otherwise.
	others := map[string]string{
		"IsReadOnly": "ReadOnly", "PersistentSubscriptionDeleted": "GroupDeleted",
		"SubscriberMaxCountReached": "MaxSubscribers", "Unknown": "None",
	}
	for what, names := range map[string]struct {
		protocol map[int32]string
		ours     func(int32) string
	}{
		"NotHandledReason": {
			esproto.NotHandled_NotHandledReason_name, func(v int32) string { return NotHandledReason(v).String() },
		},
		"DropReason": {
			esproto.SubscriptionDropped_SubscriptionDropReason_name,
			func(v int32) string { return DropReason(v).String() },
		},
		"NackAction": {
			esproto.PersistentSubscriptionNakEvents_NakAction_name,
			func(v int32) string { return NackAction(v).String() },
		},
	} {
		for v, name := range names.protocol {
			if other, ok := others[name]; ok {
				name = other
			}
			assert.Equal(t, name, names.ours(v), what)
		}
		n := int32(len(names.protocol))
		assert.Equal(t, fmt.Sprintf("%s(%d)", what, n), names.ours(n))
		assert.Equal(t, what+"(-1)", names.ours(-1))
	}
	assert.EqualValues(t, esproto.PersistentSubscriptionNakEvents_Park, NackPark)
	assert.EqualValues(t, esproto.PersistentSubscriptionNakEvents_Stop, NackStop)
	assert.EqualValues(t, esproto.SubscriptionDropped_SubscriberMaxCountReached, DropMaxSubscribers)
	assert.EqualValues(t, esproto.NotHandled_IsReadOnly, ReasonReadOnly)
}
