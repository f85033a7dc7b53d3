package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// groupJSON is a group in a list. A number that the server does not tell is -1.
type groupJSON struct {
	Stream         string `json:"stream"`
	Group          string `json:"group"`
	Status         string `json:"status"`
	Subscribers    int    `json:"subscribers"`
	InFlight       int    `json:"in_flight"`
	LastCheckpoint int64  `json:"last_checkpoint"`
	LastKnown      int64  `json:"last_known"`
	Processed      int64  `json:"processed"`
}

func newGroups(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "groups [STREAM]", Short: "List the persistent subscription groups", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.groups(cmd.Context(), args) },
	}
}

func (c *cli) groups(ctx context.Context, args []string) error {
	return c.withAdmin(ctx, func(ctx context.Context, _ *esclient.Client, admin *esadmin.Client) error {
		summaries, err := admin.Groups(ctx, streamOf(args))
		if err != nil {
			return err
		}
		var groups []groupJSON
		for i := range summaries {
			groups = append(groups, groupOf(&summaries[i]))
		}
		head := []string{"STREAM", "GROUP", "STATUS", "SUBSCRIBERS", "IN FLIGHT", "CHECKPOINT", "KNOWN", "PROCESSED"}
		return printList(c, groups, head, func(g groupJSON) []any {
			return []any{
				g.Stream, g.Group, g.Status, g.Subscribers, g.InFlight,
				orUnknown(g.LastCheckpoint), orUnknown(g.LastKnown), g.Processed,
			}
		})
	})
}

func groupOf(s *esadmin.GroupSummary) groupJSON {
	return groupJSON{
		Stream: s.Stream, Group: s.Group, Status: s.Status, Subscribers: s.Subscribers, InFlight: s.InFlight,
		LastCheckpoint: s.LastCheckpoint, LastKnown: s.LastKnownEvent, Processed: s.TotalItemsProcessed,
	}
}

// streamOf returns the stream of an optional argument, or "" for all.
func streamOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
