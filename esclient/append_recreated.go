package esclient

import (
	"context"
	"errors"
	"math"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// A soft-deleted stream accepts a write with NoStream, and goes on with the number after its last event. The server
// refuses a repetition of that write, because it looks for the ids at number 0 only. So ErrWrongExpectedVersion proves
// that nothing was written only if the stream was never deleted. Its metadata shows that.

// settleAppend finds the outcome of an append with NoStream whose repetition was refused. It returns nil and fills in
// the reply if the stream has the events. It returns the refusal if they were not written. Otherwise it returns
// unknown, the error of the append, unchanged.
func (c *Client) settleAppend(ctx context.Context, op *appendOp, unknown error) error {
	wrong := (*WrongExpectedVersionError)(nil)
	if !errors.Is(unknown, ErrOutcomeUnknown) || !errors.As(unknown, &wrong) {
		return unknown
	}
	n := int64(len(op.events))
	if wrong.Current < n {
		return wrong // the events would be after at least one other event
	}
	meta, never, err := c.recreation(ctx, op.stream)
	switch {
	case err != nil:
		return unknown
	case never:
		return wrong
	}
	for _, first := range []int64{wrong.Current - n + 1, meta.TruncateBefore} {
		if c.has(ctx, op.stream, first, op.ids[0]) && c.has(ctx, op.stream, first+n-1, op.ids[n-1]) {
			op.reply = esproto.WriteEventsCompletedView{
				FirstEventNumber: first, LastEventNumber: first + n - 1,
				CommitPosition: UnknownPosition.Commit, PreparePosition: UnknownPosition.Prepare,
			}
			return nil
		}
	}
	return unknown
}

// recreation returns the metadata of a stream. never is true if the metadata proves that no write has brought the
// stream back after a deletion: both a deletion and such a write change the metadata.
func (c *Client) recreation(ctx context.Context, stream string) (meta StreamMetadata, never bool, err error) {
	meta, version, err := c.StreamMetadata(ctx, stream)
	never = version == NoStream || version == 0 && meta.TruncateBefore != math.MaxInt64
	return meta, never && c.requireLeader(ctx), err // another node may lag behind
}

// has reports whether a read of a stream finds an event of the given number and id.
func (c *Client) has(ctx context.Context, stream string, number int64, id esproto.GUID) bool {
	if number < 0 || number == math.MaxInt64 {
		return false
	}
	e, err := c.ReadEvent(ctx, stream, number, ReadEventOptions{})
	return err == nil && esproto.NewGUID(e.ID) == id
}
