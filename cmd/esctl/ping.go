package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// lastNode is the hook that remembers which node has answered last.
type lastNode struct{ endpoint string }

func (n *lastNode) OnOperationEnded(_ context.Context, info esclient.OperationInfo) {
	n.endpoint = info.Endpoint
}

type pingJSON struct {
	Node        string  `json:"node"`
	RoundTripMS float64 `json:"round_trip_ms"`
}

func newPing(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "ping", Short: "Connect, and ask the server for a reply", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.ping(cmd.Context()) },
	}
}

func (c *cli) ping(ctx context.Context) error {
	var node lastNode
	c.hooks = append(c.hooks, &node)
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		took, err := client.Ping(ctx)
		if err != nil {
			return err
		}
		return c.printOne(pingJSON{node.endpoint, float64(took) / float64(time.Millisecond)},
			"%s answers in %s", node.endpoint, took.Round(time.Microsecond))
	})
}
