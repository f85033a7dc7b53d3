package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// largestMetadata is more than any event may have.
const largestMetadata = 16 << 20

const metaSetLong = `Change the metadata of a stream, which need not exist.

With --max-count, --max-age, --truncate-before or --cache-control the rest stays as it is; 0 removes the value. Without
any of them the metadata become the JSON object on standard input, such as meta get --json prints under metadata.`

// metaFlags are the flags of meta set.
type metaFlags struct {
	maxCount       int64
	maxAge         time.Duration
	truncateBefore int64
	cacheControl   time.Duration
	expected       expectation
}

func newMetaSet(c *cli) *cobra.Command {
	var f metaFlags
	cmd := &cobra.Command{
		Use: "set STREAM", Short: "Change the metadata of a stream", Long: metaSetLong, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.metaSet(cmd.Context(), args[0], &f, cmd.Flags())
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.maxCount, "max-count", 0, "how many of the newest events the stream keeps")
	flags.DurationVar(&f.maxAge, "max-age", 0, "how long the stream keeps an event, in whole seconds such as 24h")
	flags.Int64Var(&f.truncateBefore, "truncate-before", 0, "the number of the first event that the stream keeps")
	flags.DurationVar(&f.cacheControl, "cache-control", 0, "how long HTTP caches may keep the head of the stream")
	f.expected.addTo(flags)
	flags.Lookup("expect").Usage = "what the metadata must be: any, none, exists, or their version"
	return cmd
}

// apply changes the settings of the given flags, and reports whether there were any.
func (f *metaFlags) apply(flags *pflag.FlagSet, m *esclient.StreamMetadata) (changed bool) {
	for name, set := range map[string]func(){
		"max-count":       func() { m.MaxCount = f.maxCount },
		"max-age":         func() { m.MaxAge = f.maxAge },
		"truncate-before": func() { m.TruncateBefore = f.truncateBefore },
		"cache-control":   func() { m.CacheControl = f.cacheControl },
	} {
		if flags.Changed(name) {
			set()
			changed = true
		}
	}
	return changed
}

func (c *cli) metaSet(ctx context.Context, stream string, f *metaFlags, flags *pflag.FlagSet) error {
	var raw []byte
	if !f.apply(flags, &esclient.StreamMetadata{}) {
		var err error
		if raw, err = c.readMetadata(ctx); err != nil {
			return err
		}
	}
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		var (
			result esclient.AppendResult
			err    error
		)
		if raw != nil {
			result, err = client.SetRawStreamMetadata(ctx, stream, f.expected.version, raw)
		} else {
			result, err = changeMetadata(ctx, client, stream, f, flags)
		}
		if err != nil {
			return err
		}
		return c.printOne(metaSetJSON{stream, result.LastEventNumber}, "version %d", result.LastEventNumber)
	})
}

// metaSetJSON is the result of meta set.
type metaSetJSON struct {
	Stream  string `json:"stream"`
	Version int64  `json:"version"` // to expect in the next change
}

// changeMetadata expects the version that it has read, so that it does not undo another writer's change.
func changeMetadata(
	ctx context.Context, client *esclient.Client, stream string, f *metaFlags, flags *pflag.FlagSet,
) (result esclient.AppendResult, err error) {
	metadata, version, err := client.StreamMetadata(ctx, stream)
	if err != nil {
		return result, err
	}
	if flags.Changed("expect") {
		version = f.expected.version
	}
	f.apply(flags, &metadata)
	return client.SetStreamMetadata(ctx, stream, version, metadata)
}

// readMetadata reads standard input. What a server would ignore is refused.
func (c *cli) readMetadata(ctx context.Context) ([]byte, error) {
	text, err := wait(ctx, func() (string, error) {
		text, err := io.ReadAll(io.LimitReader(c.in, largestMetadata+1))
		return string(text), err
	})
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	raw := bytes.TrimSpace([]byte(text))
	var metadata esclient.StreamMetadata
	if err := json.Unmarshal(raw, &metadata); err != nil {
		return nil, &usageError{fmt.Errorf("standard input is no metadata: %w", err)}
	}
	if len(raw) > largestMetadata {
		return nil, &usageError{errors.New("standard input is too large for metadata")}
	}
	return raw, nil
}
