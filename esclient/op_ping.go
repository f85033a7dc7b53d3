package esclient

import (
	"context"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Ping waits for a connection, if there is none, asks the server for a reply, and returns how long the call took.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	started := time.Now()
	if err := c.do(ctx, pingOp{}, reading); err != nil {
		return 0, &OperationError{Operation: "ping", Err: err}
	}
	return time.Since(started), nil
}

type pingOp struct{}

func (pingOp) Command() esproto.Command      { return esproto.CmdPing }
func (pingOp) AppendPayload(b []byte) []byte { return b }
func (pingOp) Keeps(esproto.Command) bool    { return false }

func (pingOp) Decode(cmd esproto.Command, _ []byte) error {
	if cmd != esproto.CmdPong {
		return unexpected(pingOp{}, cmd, nil)
	}
	return nil
}
