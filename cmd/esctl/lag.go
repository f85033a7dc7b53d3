package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// lagJSON is how far a group is behind its stream.
type lagJSON struct {
	Stream     string `json:"stream"`
	Group      string `json:"group"`
	Last       int64  `json:"last"`       // the number of the stream's last event; -1 if it has none
	Checkpoint int64  `json:"checkpoint"` // up to which all is settled; -1 if none is
	Lag        int64  `json:"lag"`        // -1 if it cannot be known
	InFlight   int    `json:"in_flight"`
}

const lagLong = `Tell how far groups are behind their streams.

The lag is how many numbers lie between the checkpoint of a group, up to which all is settled, and the last event of its
stream. Servers write checkpoints some seconds late. A group without a checkpoint counts from the event that it starts
with; the lag of one that starts with new events is not known then.`

func newLag(c *cli) *cobra.Command {
	limit := int64(-1)
	cmd := &cobra.Command{
		Use: "lag [STREAM]", Short: "Tell how far groups are behind their streams", Args: cobra.MaximumNArgs(1),
		Long: lagLong,
		RunE: func(cmd *cobra.Command, args []string) error { return c.lag(cmd.Context(), args, limit) },
	}
	cmd.Flags().Int64Var(&limit, "max", limit, "end with status 10 if a group lags more than this")
	return cmd
}

func (c *cli) lag(ctx context.Context, args []string, limit int64) error {
	return c.withAdmin(ctx, func(ctx context.Context, client *esclient.Client, admin *esadmin.Client) error {
		summaries, err := admin.Groups(ctx, streamOf(args))
		if err != nil {
			return err
		}
		var groups []lagJSON
		over := false
		for i := range summaries {
			if summaries[i].Stream == esclient.AllStream {
				continue // it goes by positions, which do not count events
			}
			group, err := lagOf(ctx, client, admin, &summaries[i])
			if err != nil {
				return err
			}
			over = over || limit >= 0 && group.Lag > limit
			groups = append(groups, group)
		}
		head := []string{"STREAM", "GROUP", "LAST", "CHECKPOINT", "LAG", "IN FLIGHT"}
		err = printList(c, groups, head, func(g lagJSON) []any {
			return []any{g.Stream, g.Group, orUnknown(g.Last), orUnknown(g.Checkpoint), orUnknown(g.Lag), g.InFlight}
		})
		if err == nil && over {
			err = errOverLimit
		}
		return err
	})
}

func lagOf(
	ctx context.Context, client *esclient.Client, admin *esadmin.Client, group *esadmin.GroupSummary,
) (lagJSON, error) {
	lag := lagJSON{
		Stream: group.Stream, Group: group.Group, Last: -1, Checkpoint: group.LastCheckpoint, InFlight: group.InFlight,
	}
	page, err := client.ReadStreamPage(ctx, group.Stream, esclient.ReadOptions{Backward: true, MaxCount: 1})
	switch {
	case errors.Is(err, esclient.ErrStreamNotFound), errors.Is(err, esclient.ErrStreamDeleted):
		return lag, nil
	case err != nil:
		return lag, err
	}
	lag.Last = page.LastEventNumber
	settled := lag.Checkpoint
	if settled < 0 {
		// It has settled nothing. With new events only the server does not tell which was the first of these.
		info, err := admin.Group(ctx, group.Stream, group.Group)
		if err != nil {
			return lag, err
		}
		if info.Settings.StartFrom < 0 {
			lag.Lag = -1
			return lag, nil
		}
		settled = info.Settings.StartFrom - 1
	}
	lag.Lag = max(lag.Last-settled, 0)
	return lag, nil
}
