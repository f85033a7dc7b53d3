package main

import (
	"context"
	"errors"
	"iter"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// readFlags are the flags of read.
type readFlags struct {
	from     string
	count    int64
	backward bool
	resolve  bool
	metadata bool
}

func newRead(c *cli) *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use: "read STREAM", Short: "Print the events of a stream, or of $all", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.read(cmd.Context(), args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "where to begin: 5, C:1024/P:1024 of $all, after:…, start or end")
	flags.Int64Var(&f.count, "count", 0, "how many events at most; 0 is all")
	flags.BoolVar(&f.backward, "backward", false, "the last event first")
	flags.BoolVar(&f.resolve, "resolve", false, "print the events that links lead to")
	flags.BoolVar(&f.metadata, "metadata", false, "print the events' metadata, too; JSON always has it")
	return cmd
}

func (c *cli) read(ctx context.Context, stream string, f *readFlags) error {
	from, err := parseStart(f.from)
	if err != nil {
		return err
	}
	if f.count < 0 {
		return &usageError{errors.New("--count must not be negative")}
	}
	if f.from == "end" && !f.backward {
		return &usageError{errors.New("--from end needs --backward: nothing is behind the end")}
	}
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, moved, end := c.whileItMoves(ctx)
		defer end()
		for event, err := range readEvents(ctx, client, stream, from, f) {
			if err != nil {
				return timedOut(ctx, err)
			}
			moved()
			if err := c.printEvent(event, f.metadata); err != nil {
				return err
			}
		}
		return nil
	})
}

func readEvents(
	ctx context.Context, client *esclient.Client, stream string, from esclient.Start, f *readFlags,
) iter.Seq2[*esclient.Event, error] {
	if stream == esclient.AllStream {
		return client.ReadAll(ctx, esclient.ReadAllOptions{
			From: from, MaxCount: f.count, Backward: f.backward, ResolveLinks: f.resolve,
		})
	}
	return client.ReadStream(ctx, stream, esclient.ReadOptions{
		From: from, MaxCount: f.count, Backward: f.backward, ResolveLinks: f.resolve,
	})
}
