package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// tailFlags are the flags of tail.
type tailFlags struct {
	from          string
	count         int64
	resolve       bool
	metadata      bool
	group         string
	noAck         bool
	filterStreams []string
	filterTypes   []string
}

// mostUnacked is how many events of a group tail --no-ack prints at most.
const mostUnacked = 1000

const tailLong = `Print the events of a stream, or of $all, as they come, until Ctrl-C.

With --group it is a subscriber of that group: the events that it prints are acked, so that other subscribers do not get
them. With --no-ack they go back to the group in the end, which may count as a retry.`

func newTail(c *cli) *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use: "tail STREAM", Short: "Print the events of a stream, or of $all, as they come", Args: cobra.ExactArgs(1),
		Long: tailLong,
		RunE: func(cmd *cobra.Command, args []string) error { return c.tail(cmd.Context(), args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "where to begin: 5, C:1024/P:1024 of $all, after:… or start; else at the end")
	flags.Int64Var(&f.count, "count", 0, "end after so many events; 0 is never")
	flags.BoolVar(&f.resolve, "resolve", false, "print the events that links lead to")
	flags.BoolVar(&f.metadata, "metadata", false, "print the events' metadata, too; JSON always has it")
	flags.StringVar(&f.group, "group", "", "consume as a subscriber of this persistent subscription group")
	flags.BoolVar(&f.noAck, "no-ack", false, "leave the events of --group to others")
	flags.StringArrayVar(&f.filterStreams, "filter-stream", nil, "of $all, only streams that begin so; may be repeated")
	flags.StringArrayVar(&f.filterTypes, "filter-type", nil, "of $all, only types that begin so; may be repeated")
	return cmd
}

// check refuses flags that do not go together.
func (f *tailFlags) check(stream string) error {
	filtered := len(f.filterStreams)+len(f.filterTypes) > 0
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{f.count < 0, "--count must not be negative"},
		{len(f.filterStreams) > 0 && len(f.filterTypes) > 0, "servers filter by --filter-stream or by --filter-type"},
		{filtered && stream != esclient.AllStream, "filters are for $all"},
		{f.group != "" && filtered, "a group has no filter"},
		{f.group != "" && f.from != "", "a group knows where it is: --from is not for it"},
		{f.group != "" && f.resolve, "whether a group resolves links is one of its settings: see group update"},
		{f.group == "" && f.noAck, "--no-ack is for --group"},
	} {
		if wrong.is {
			return &usageError{errors.New(wrong.text)}
		}
	}
	return nil
}

// source is a subscription of either kind.
type source struct {
	next func(context.Context) (*esclient.Event, error)
	done func(*esclient.Event) error // the event was printed
	end  func() string               // ends it, and says how to go on
}

func (c *cli) tail(ctx context.Context, stream string, f *tailFlags) error {
	from, err := parseStart(f.from)
	if err == nil {
		err = f.check(stream)
	}
	if err != nil {
		return err
	}
	if f.from == "" {
		from = esclient.FromEnd()
	}
	return c.withClient(ctx, func(client *esclient.Client) error {
		var s source
		var err error
		if f.group != "" {
			s, err = c.consume(ctx, client, stream, f)
		} else {
			s, err = c.follow(ctx, client, stream, from, f)
		}
		if err != nil {
			return err
		}
		err = c.printAll(ctx, s, f)
		if hint := s.end(); hint != "" {
			fmt.Fprintln(c.errs, hint)
		}
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			err = nil // Ctrl-C is how tail ends
		}
		return err
	})
}

// printAll prints each event before it counts as done.
func (c *cli) printAll(ctx context.Context, s source, f *tailFlags) error {
	for n := int64(0); f.count == 0 || n < f.count; n++ {
		event, err := s.next(ctx)
		if err != nil {
			return err
		}
		if err := c.printEvent(event, f.metadata); err != nil {
			return err
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		if err := s.done(event); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) follow(
	ctx context.Context, client *esclient.Client, stream string, from esclient.Start, f *tailFlags,
) (source, error) {
	opts := esclient.CatchUpOptions{Start: from, ResolveLinks: f.resolve}
	if len(f.filterStreams)+len(f.filterTypes) > 0 {
		opts.Filter = &esclient.Filter{StreamPrefixes: f.filterStreams, TypePrefixes: f.filterTypes}
		opts.FilterInClient = true
	}
	subscribing, cancel := c.limited(ctx)
	defer cancel()
	sub, err := client.SubscribeCatchUp(subscribing, stream, opts)
	if err == nil {
		err = sub.Ready(subscribing)
	}
	if err != nil {
		return source{}, err
	}
	return source{
		next: sub.Next,
		done: func(*esclient.Event) error { return nil },
		end: func() string {
			sub.Stop()
			at := sub.Delivered()
			if at.IsZero() {
				return ""
			}
			return "go on with --from after:" + at.String()
		},
	}, nil
}

func (c *cli) consume(ctx context.Context, client *esclient.Client, stream string, f *tailFlags) (source, error) {
	subscribing, cancel := c.limited(ctx)
	defer cancel()
	opts := esclient.PersistentOptions{}
	if f.noAck {
		opts.InFlight = mostUnacked // no more than these are pushed, since none is settled
	}
	if f.count > 0 {
		opts.InFlight = int(min(f.count, mostUnacked))
	}
	sub, err := client.ConnectPersistent(subscribing, stream, f.group, opts)
	if err != nil {
		return source{}, err
	}
	return source{
		next: sub.Next,
		done: func(e *esclient.Event) error {
			if f.noAck {
				return nil
			}
			return sub.Ack(e)
		},
		end: func() string {
			// Messages without an ack go back at once, also after Ctrl-C.
			ending, cancel := c.limited(context.WithoutCancel(ctx))
			defer cancel()
			if err := sub.Stop(ending); err != nil {
				return "the server has not heard that the subscriber is gone: " + printable(err.Error())
			}
			return ""
		},
	}, nil
}
