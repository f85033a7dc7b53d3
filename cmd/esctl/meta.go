package main

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// metaJSON are the metadata of a stream as the server has them.
type metaJSON struct {
	Stream   string          `json:"stream"`
	Version  int64           `json:"version"` // to expect in the next change; -1 if there are no metadata
	Metadata json.RawMessage `json:"metadata"`
}

func newMeta(c *cli) *cobra.Command {
	return family("meta", "Show or change the metadata of a stream", newMetaGet(c), newMetaSet(c))
}

func newMetaGet(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "get STREAM", Short: "Print the metadata of a stream", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.metaGet(cmd.Context(), args[0]) },
	}
}

func (c *cli) metaGet(ctx context.Context, stream string) error {
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		raw, version, err := client.RawStreamMetadata(ctx, stream)
		if err != nil {
			return err
		}
		if raw == nil {
			raw = []byte("{}")
		}
		if c.json {
			return c.printJSON(metaJSON{stream, int64(version), raw})
		}
		var text bytes.Buffer
		if err := json.Indent(&text, raw, "", "  "); err != nil {
			return c.printOne(nil, "%s", printable(string(raw)))
		}
		return c.printOne(nil, "version %d\n%s", int64(version), text.String())
	})
}
