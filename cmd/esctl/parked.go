package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// parkedJSON is how many events a group has parked.
type parkedJSON struct {
	Stream string `json:"stream"`
	Group  string `json:"group"`
	Parked int64  `json:"parked"`
}

// parkedEventJSON is a parked event.
type parkedEventJSON struct {
	Reason string     `json:"reason"`
	Added  *time.Time `json:"added,omitempty"`
	Event  eventJSON  `json:"event"`
}

func newParked(c *cli) *cobra.Command {
	return family("parked", "List, show or replay the events that groups have parked",
		newParkedList(c), newParkedShow(c), newParkedReplay(c),
	)
}

const parkedListLong = `Count the parked events of each group.

Servers before 21.10 do not tell. They are counted one by one then, which takes the right to read them.`

func newParkedList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "ls [STREAM]", Short: "Count the parked events of each group", Args: cobra.MaximumNArgs(1),
		Long: parkedListLong,
		RunE: func(cmd *cobra.Command, args []string) error { return c.parkedList(cmd.Context(), args) },
	}
}

func (c *cli) parkedList(ctx context.Context, args []string) error {
	return c.withAdmin(ctx, func(ctx context.Context, client *esclient.Client, admin *esadmin.Client) error {
		summaries, err := admin.Groups(ctx, streamOf(args))
		if err != nil {
			return err
		}
		var groups []parkedJSON
		for i := range summaries {
			n, err := countParked(ctx, client, admin, &summaries[i])
			if err != nil {
				return err
			}
			groups = append(groups, parkedJSON{summaries[i].Stream, summaries[i].Group, n})
		}
		return printList(c, groups, []string{"STREAM", "GROUP", "PARKED"}, func(p parkedJSON) []any {
			return []any{p.Stream, p.Group, p.Parked}
		})
	})
}

func countParked(
	ctx context.Context, client *esclient.Client, admin *esadmin.Client, group *esadmin.GroupSummary,
) (int64, error) {
	info, err := admin.Group(ctx, group.Stream, group.Group)
	if err != nil || info.Parked >= 0 {
		return info.Parked, err
	}
	n := int64(0)
	for _, err := range client.ReadParked(ctx, group.Stream, group.Group) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func newParkedShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "show STREAM GROUP", Short: "Print the parked events of a group, the oldest first",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return c.parkedShow(cmd.Context(), args[0], args[1]) },
	}
}

func (c *cli) parkedShow(ctx context.Context, stream, group string) error {
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, moved, end := c.whileItMoves(ctx)
		defer end()
		for parked, err := range client.ReadParked(ctx, stream, group) {
			if err != nil {
				return timedOut(ctx, err)
			}
			moved()
			if err := c.printParked(&parked); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cli) printParked(p *esclient.ParkedEvent) error {
	if c.json {
		j := parkedEventJSON{Reason: p.Reason, Event: asJSON(p.Event)}
		if !p.Added.IsZero() {
			j.Added = &p.Added
		}
		return c.printJSON(j)
	}
	e := p.Event
	_, err := fmt.Fprintf(c.out, "%s/%d %s parked %s because %q: %s\n",
		printable(e.Stream), e.Number, printable(e.Type), at(p.Added), p.Reason, payloadText(e.Data))
	return err
}
