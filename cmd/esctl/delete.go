package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// deletedJSON is a stream that was deleted.
type deletedJSON struct {
	Stream   string            `json:"stream"`
	Hard     bool              `json:"hard"`
	Position esclient.Position `json:"position"`
}

func newDelete(c *cli) *cobra.Command {
	var (
		hard     bool
		expected expectation
	)
	cmd := &cobra.Command{
		Use: "delete STREAM", Short: "Delete a stream, for ever with --hard", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.delete(cmd.Context(), args[0], expected.version, hard)
		},
	}
	cmd.Flags().BoolVar(&hard, "hard", false, "leave a tombstone: the name cannot be used again")
	expected.addTo(cmd.Flags())
	return c.confirmed(cmd)
}

func (c *cli) delete(ctx context.Context, stream string, expected esclient.ExpectedVersion, hard bool) error {
	return c.withClient(ctx, func(client *esclient.Client) error {
		remove, question := client.DeleteStream, "Delete stream %s?"
		if hard {
			remove, question = client.TombstoneStream, "Delete stream %s for ever? Its name cannot be used again."
		}
		if err := c.confirm(ctx, question, stream); err != nil {
			return err
		}
		ctx, cancel := c.limited(ctx)
		defer cancel()
		position, err := remove(ctx, stream, expected)
		if expected == esclient.Any && errors.Is(err, esclient.ErrWrongExpectedVersion) {
			// Nothing else is wrong about it.
			return fmt.Errorf("delete stream %q: %w", stream, esclient.ErrStreamNotFound)
		}
		if err != nil {
			return err
		}
		return c.printOne(deletedJSON{stream, hard, position}, "deleted %s", printable(stream))
	})
}
