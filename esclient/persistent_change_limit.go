package esclient

import (
	"context"
)

// maxGroupChanges is how many changes of groups a client sends at a time. Servers make them one after another, and more
// groups make each change slower. A change waits for its turn here and not at the server, where Config.OperationTimeout
// runs.
const maxGroupChanges = 4

// groupTurn waits until the client may send another change of a group. The caller must call leave, unless there is an
// error.
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
