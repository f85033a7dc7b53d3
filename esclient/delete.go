package esclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// DeleteStream deletes a stream so that it can come back. Its events are no longer read, and its metadata is lost,
// access rights included. An append brings the stream back, with numbers that go on after the last event. A
// subscription to the stream notices nothing. The events stay in $all until the server scavenges. The result is the log
// position of the deletion.
//
// To delete a deleted stream succeeds. Servers up to 20.10 also delete a stream that never existed; later ones answer
// [ErrWrongExpectedVersion]. Servers accept StreamExists from 21.10 on; earlier ones do not know it, which is
// [ErrNotSupported]. No user may delete $all or a metadata stream.
//
// No server recognises a repeated delete. With an exact version or NoStream the client repeats it after a lost reply,
// since the version protects events that were appended meanwhile. With Any and StreamExists the client cannot repeat
// it: a delete that was sent and has no reply ends with [ErrOutcomeUnknown]. So does a repetition that the server
// refuses: perhaps the first attempt took place and the stream was written to since. With any other error nothing was
// deleted.
func (c *Client) DeleteStream(ctx context.Context, stream string, expected ExpectedVersion) (Position, error) {
	r := repetition{effect: notIdempotent}
	if expected.exact() {
		r.effect = idempotent
	}
	return c.delete(ctx, "delete stream", stream, expected, false, r)
}

// TombstoneStream deletes a stream for ever. Then no client can write to it or read it. Its name cannot be used again,
// even if the stream never existed. Subscriptions to the stream get the tombstone as an event of type "$streamDeleted".
// The result is the log position of the tombstone.
//
// The error is [ErrStreamDeleted] for a stream that has a tombstone already. If a repetition after a lost reply finds
// that, the error is [ErrOutcomeUnknown], too: the stream is deleted, but perhaps by another client. StreamExists and
// $all are as with [Client.DeleteStream].
func (c *Client) TombstoneStream(ctx context.Context, stream string, expected ExpectedVersion) (Position, error) {
	return c.delete(ctx, "tombstone stream", stream, expected, true, compared)
}

func (c *Client) delete(
	ctx context.Context, what, stream string, expected ExpectedVersion, hard bool, r repetition,
) (Position, error) {
	if err := validateDelete(stream, expected); err != nil {
		return UnknownPosition, err
	}
	op := &deleteOp{stream: stream, expected: expected, hard: hard, requireLeader: c.requireLeader(ctx)}
	if err := c.do(ctx, op, r); err != nil {
		return UnknownPosition, &OperationError{Operation: what, Stream: stream, Err: op.explain(err)}
	}
	return Position{Commit: op.reply.GetCommitPosition(), Prepare: op.reply.GetPreparePosition()}, nil
}

func validateDelete(stream string, expected ExpectedVersion) error {
	if err := validateName("stream", stream); err != nil {
		return err
	}
	if stream == AllStream || strings.HasPrefix(stream, metadataPrefix) {
		return &ArgumentError{Argument: "stream", Reason: fmt.Sprintf("no user may delete %q", stream)}
	}
	return expected.validate()
}

// deleteOp is a delete or a tombstone.
type deleteOp struct {
	stream        string
	expected      ExpectedVersion
	hard          bool
	requireLeader bool
	reply         esproto.DeleteStreamCompleted
}

func (o *deleteOp) Command() esproto.Command      { return esproto.CmdDeleteStream }
func (o *deleteOp) Keeps(esproto.Command) bool    { return false }
func (o *deleteOp) about() (stream, group string) { return o.stream, "" }

func (o *deleteOp) AppendPayload(b []byte) []byte {
	return appendMessage(b, &esproto.DeleteStream{
		EventStreamId:   proto.String(o.stream),
		ExpectedVersion: proto.Int64(int64(o.expected)),
		RequireLeader:   proto.Bool(o.requireLeader),
		HardDelete:      proto.Bool(o.hard),
	})
}

func (o *deleteOp) Decode(cmd esproto.Command, payload []byte) error {
	if err := decodeMessage(o, &o.reply, cmd, payload); err != nil {
		return err
	}
	if o.reply.GetResult() != esproto.OperationResult_WrongExpectedVersion {
		return operationError(o.reply.GetResult(), o.reply.GetMessage())
	}
	wrong := &WrongExpectedVersionError{Stream: o.stream, Expected: o.expected, Current: UnknownVersion}
	if o.reply.CurrentVersion != nil {
		// Servers up to 20.10 leave the version out. From 22.10 on 0 looks the same.
		wrong.Current = o.reply.GetCurrentVersion()
	}
	return wrong
}

// explain adds the only possible cause to a BadRequest.
func (o *deleteOp) explain(err error) error {
	if bad := (*BadRequestError)(nil); o.expected == StreamExists && errors.As(err, &bad) {
		return fmt.Errorf("%w: deletes take StreamExists from 21.10 on: %w", ErrNotSupported, err)
	}
	return err
}
