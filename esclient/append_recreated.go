package esclient

import (
	"context"
	"errors"
	"math"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// A stream that was soft-deleted takes a write with NoStream, and goes on with the number behind its last event. A
// repetition of that write is refused: the server looks for the ids at number 0 only. So ErrWrongExpectedVersion means
// that nothing was written only where the stream was never deleted, and its metadata tell that.

// settleAppend finds out what became of an append with NoStream whose repetition was refused. It returns nil, with the
// reply filled in, if the stream has the events; the refusal if they were not written; and else unknown, the error of
// the append as it is.
func (c *Client) settleAppend(ctx context.Context, op *appendOp, unknown error) error {
	wrong := (*WrongExpectedVersionError)(nil)
	if !errors.Is(unknown, ErrOutcomeUnknown) || !errors.As(unknown, &wrong) {
		return unknown
	}
	n := int64(len(op.events))
	if wrong.Current < n {
		return wrong // the events would stand behind another one at least
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

// recreation returns the metadata of a stream, and whether they show that it was never deleted and then written to. To
// delete it writes metadata, and so does the first write behind that.
func (c *Client) recreation(ctx context.Context, stream string) (meta StreamMetadata, never bool, err error) {
	meta, version, err := c.StreamMetadata(ctx, stream)
	never = version == NoStream || version == 0 && meta.TruncateBefore != math.MaxInt64
	return meta, never && c.requireLeader(ctx), err // another node may lag behind
}

// has reports whether a stream shows an event of the given number and id.
func (c *Client) has(ctx context.Context, stream string, number int64, id esproto.GUID) bool {
	if number < 0 || number == math.MaxInt64 {
		return false
	}
	e, err := c.ReadEvent(ctx, stream, number, ReadEventOptions{})
	return err == nil && esproto.NewGUID(e.ID) == id
}
