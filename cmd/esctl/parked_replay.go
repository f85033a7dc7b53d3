package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

func newParkedReplay(c *cli) *cobra.Command {
	var limit int64
	cmd := &cobra.Command{
		Use: "replay STREAM GROUP", Short: "Have a group deliver its parked events again", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.parkedReplay(cmd.Context(), args, limit)
		},
	}
	cmd.Flags().Int64Var(&limit, "limit", 0, "how many at most, the oldest first, from server 20.6 on; 0 is all")
	return c.confirmed(cmd)
}

func (c *cli) parkedReplay(ctx context.Context, args []string, limit int64) error {
	if limit < 0 {
		return &usageError{errors.New("--limit must not be negative")}
	}
	if err := c.confirm(ctx, "Replay the parked events of group %s of stream %s?", args[1], args[0]); err != nil {
		return err
	}
	return c.withAdmin(ctx, func(ctx context.Context, _ *esclient.Client, admin *esadmin.Client) error {
		if err := admin.ReplayParked(ctx, args[0], args[1], limit); err != nil {
			return err
		}
		return c.printOne(changedJSON{args[0], args[1], "replayed"},
			"group %s of stream %s delivers its parked events again", printable(args[1]), printable(args[0]))
	})
}
