package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// streamJSON is a stream that has events.
type streamJSON struct {
	Stream  string    `json:"stream"`
	Last    int64     `json:"last"` // the number of the last event
	Written time.Time `json:"written"`
}

const streamsLong = `List the streams, or those whose names begin with PREFIX, with number and time of the last event.

The whole log is read for that. It takes the right to read $all. Servers from 20.6 on send only what is needed. Deleted
streams are left out.`

func newStreams(c *cli) *cobra.Command {
	var system bool
	cmd := &cobra.Command{
		Use: "streams [PREFIX]", Short: "List the streams, or those whose names begin with PREFIX",
		Long: streamsLong,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			return c.streams(cmd.Context(), prefix, system || strings.HasPrefix(prefix, "$"))
		},
	}
	cmd.Flags().BoolVar(&system, "system", false, "list the server's own streams, too, which begin with $")
	return cmd
}

func (c *cli) streams(ctx context.Context, prefix string, system bool) error {
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, moved, end := c.whileItMoves(ctx)
		defer end()
		survey := streamSurvey{prefix: prefix, system: system, found: make(map[string]streamJSON)}
		err := survey.read(ctx, client, survey.filter(), moved)
		if errors.Is(err, esclient.ErrNotSupported) {
			err = survey.read(ctx, client, nil, moved)
		}
		if err != nil {
			return timedOut(ctx, err)
		}
		var streams []streamJSON
		for _, stream := range survey.found {
			streams = append(streams, stream)
		}
		slices.SortFunc(streams, func(a, b streamJSON) int { return cmp.Compare(a.Stream, b.Stream) })
		return printList(c, streams, []string{"STREAM", "LAST", "WRITTEN"}, func(s streamJSON) []any {
			return []any{s.Stream, s.Last, at(s.Written)}
		})
	})
}

// streamSurvey gathers the streams of the log.
type streamSurvey struct {
	prefix string
	system bool
	found  map[string]streamJSON
}

// filter makes a server leave out the streams that wants does not accept. Metadata is needed to find deletions.
func (s *streamSurvey) filter() *esclient.Filter {
	switch {
	case s.prefix != "":
		return &esclient.Filter{StreamPrefixes: []string{s.prefix, "$$" + s.prefix}, SearchWindow: math.MaxInt32}
	case !s.system:
		return &esclient.Filter{StreamRegex: `^([^$]|\$\$[^$])`}
	}
	return nil
}

func (s *streamSurvey) wants(stream string) bool {
	return strings.HasPrefix(stream, s.prefix) && (s.system || !strings.HasPrefix(stream, "$"))
}

func (s *streamSurvey) read(
	ctx context.Context, client *esclient.Client, filter *esclient.Filter, moved func(),
) error {
	opts := esclient.ReadAllOptions{Filter: filter, PageSize: esclient.MaxPageSize}
	for {
		page, err := client.ReadAllPage(ctx, opts)
		if err != nil {
			return err
		}
		moved()
		for i := range page.Events {
			s.add(&page.Events[i])
		}
		if page.EndOfStream || filter == nil && len(page.Events) == 0 {
			return nil
		}
		opts.From = page.Next
	}
}

// add takes the events in the order of the log: a deleted stream that is written to again exists.
func (s *streamSurvey) add(e *esclient.Event) {
	if s.wants(e.Stream) {
		if e.Type == "$streamDeleted" {
			delete(s.found, e.Stream)
		} else {
			name := strings.Clone(e.Stream) // the event would keep its page
			s.found[name] = streamJSON{Stream: name, Last: e.Number, Written: e.Created.Time()}
		}
	}
	stream, isMetadata := strings.CutPrefix(e.Stream, "$$")
	if !isMetadata || !s.wants(stream) {
		return
	}
	var metadata esclient.StreamMetadata
	if json.Unmarshal(e.Data, &metadata) == nil && metadata.TruncateBefore == math.MaxInt64 {
		delete(s.found, stream)
	}
}
