package esclient

import (
	"context"
)

// maxGroupChanges is how many changes of groups a client has under way at a time. Servers make them one after another,
// and take the longer the more groups they have. A change that waits here for its turn does not wait there, where
// Config.OperationTimeout runs.
const maxGroupChanges = 4

// groupTurn waits until the client may send another change of a group. leave must follow, unless there is an error.
func (c *Client) groupTurn(ctx context.Context) (leave func(), err error) {
	ctx, stop := whileUnsent(ctx)
	defer stop()
	select {
	case c.groupTurns <- struct{}{}:
		return func() { <-c.groupTurns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.Closed():
		return nil, ErrClosed
	}
}
