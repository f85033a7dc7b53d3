package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const publishLong = `Append an event to a stream for each line of standard input, in order and none of them twice.

With --type a line is the data of an event: JSON, or any text with --text. Without it a line is an event as read --json
prints it: type, data (or data_text, data_base64), metadata, and perhaps id; the rest is ignored.

The events go to the server in batches while lines come. If that ends early, esctl tells which lines are written, and
which may be (status 3). To go on, publish the same input with --from-line.`

// publishFlags are the flags of publish.
type publishFlags struct {
	eventType string
	text      bool
	metadata  string
	fromLine  int64
	expected  expectation
}

// publishedJSON counts the written messages. It is printed also if publish fails.
type publishedJSON struct {
	Stream   string             `json:"stream"`
	Written  int64              `json:"written"` // events; their lines are FromLine and those behind it
	Unknown  int64              `json:"unknown"` // events behind these that may be written, all of them or none
	FromLine int64              `json:"from_line"`
	First    int64              `json:"first"` // event number; -1 without one
	Last     int64              `json:"last"`
	Position *esclient.Position `json:"position,omitempty"`
}

func newPublish(c *cli) *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use: "publish STREAM", Short: "Append the lines of standard input to a stream", Long: publishLong,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.publish(cmd.Context(), args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.eventType, "type", "", "the type of the events; a line is the data of one")
	flags.BoolVar(&f.text, "text", false, "with --type, lines are text and not JSON")
	flags.StringVar(&f.metadata, "metadata", "", "JSON, the metadata of all events that have none")
	flags.Int64Var(&f.fromLine, "from-line", 1, "the first line to publish")
	f.expected.addTo(flags)
	return cmd
}

func (f *publishFlags) check() error {
	switch {
	case f.text && f.eventType == "":
		return &usageError{errors.New("--text needs --type")}
	case f.fromLine < 1:
		return &usageError{errors.New("--from-line counts from 1")}
	case f.metadata != "" && !isJSON([]byte(f.metadata)):
		return &usageError{errors.New("--metadata is not JSON")}
	}
	return nil
}

func (c *cli) publish(ctx context.Context, stream string, f *publishFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	return c.withClient(ctx, func(client *esclient.Client) error {
		// The source must not wait for a line when an append has failed.
		reading, failed := context.WithCancelCause(ctx)
		defer failed(nil)
		result, err := client.AppendFrom(ctx, stream, f.expected.version, c.events(reading, stream, f),
			esclient.AppendFromOptions{Failed: failed})
		j := publishedJSON{
			Stream: stream, Written: result.Events, Unknown: result.Unknown, FromLine: f.fromLine,
			First: result.FirstEventNumber, Last: result.LastEventNumber,
		}
		if result.Events > 0 && result.Position != esclient.UnknownPosition {
			j.Position = &result.Position
		}
		if err != nil && j.Written == 0 && !c.json {
			return j.explain(err)
		}
		return errors.Join(c.printOne(j, "%s", j.text()), j.explain(err))
	})
}

func (j *publishedJSON) text() string {
	switch j.Written {
	case 0:
		return "0 events written to " + printable(j.Stream)
	case 1:
		return fmt.Sprintf("1 event written to %s, number %d", printable(j.Stream), j.First)
	}
	return fmt.Sprintf("%d events written to %s, numbers %d to %d", j.Written, printable(j.Stream), j.First, j.Last)
}

// explain adds to an error which lines are written.
func (j *publishedJSON) explain(err error) error {
	if err == nil {
		return nil
	}
	next := j.FromLine + j.Written
	written := "no line is written"
	if j.Written > 0 {
		written = lines(j.FromLine, next-1) + " written"
	}
	if j.Unknown > 0 {
		return errors.Join(err, fmt.Errorf("%s, the next %d may be, all of them or none, and no other is",
			written, j.Unknown))
	}
	if j.Written > 0 {
		written += fmt.Sprintf(", no other is: go on with --from-line %d", next)
	}
	return errors.Join(err, errors.New(written))
}

// lines names some lines.
func lines(first, last int64) string {
	if first == last {
		return fmt.Sprintf("line %d is", first)
	}
	return fmt.Sprintf("lines %d to %d are", first, last)
}

// events makes an event of each line. An error names its line, and the events before it are written.
func (c *cli) events(ctx context.Context, stream string, f *publishFlags) iter.Seq2[esclient.EventData, error] {
	return func(yield func(esclient.EventData, error) bool) {
		input := bufio.NewReaderSize(c.in, 64<<10)
		for number := int64(1); ; number++ {
			line, err := readLine(ctx, input)
			if errors.Is(err, errNoLine) {
				return
			}
			if err == nil && number < f.fromLine {
				continue
			}
			var event esclient.EventData
			if err == nil {
				event, err = f.event([]byte(line))
			}
			if err == nil {
				err = esclient.ValidateAppend(stream, esclient.Any, event)
			}
			if err != nil {
				yield(esclient.EventData{}, fmt.Errorf("line %d: %w", number, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}
