package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const benchLong = `Measure appends and reads in a new stream, which is deleted in the end.

append writes events one by one, from as many goroutines as --concurrency says. batch writes as many again as publish
does. read reads all of them. Latencies are those of single appends.`

// benchFlags are the flags of bench.
type benchFlags struct {
	events      int
	size        int
	concurrency int
}

// benchJSON has the measurements of one part of bench.
type benchJSON struct {
	Operation       string  `json:"operation"`
	Events          int64   `json:"events"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	P50MS           float64 `json:"p50_ms,omitempty"`
	P99MS           float64 `json:"p99_ms,omitempty"`
	MaxMS           float64 `json:"max_ms,omitempty"`
}

func newBench(c *cli) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure appends and reads", Long: benchLong, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.bench(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.events, "events", 10_000, "how many events each part writes")
	flags.IntVar(&f.size, "size", 256, "bytes of data of an event")
	flags.IntVar(&f.concurrency, "concurrency", 32, "appends under way at a time")
	return cmd
}

func (f *benchFlags) check() error {
	if f.events < 1 || f.concurrency < 1 || f.size < 0 || f.size > esclient.MaxEventSize/2 {
		return &usageError{fmt.Errorf("--events and --concurrency must be positive, and --size from 0 to %d",
			esclient.MaxEventSize/2)}
	}
	return nil
}

func (c *cli) bench(ctx context.Context, f *benchFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	return c.withClient(ctx, func(client *esclient.Client) (err error) {
		stream := "esctl-bench-" + uuid.NewString()
		defer func() {
			// Also after Ctrl-C.
			ending, cancel := c.limited(context.WithoutCancel(ctx))
			defer cancel()
			if _, deleteErr := client.DeleteStream(ending, stream, esclient.Any); deleteErr != nil {
				err = errors.Join(err, fmt.Errorf("stream %s was left behind: %w", stream, deleteErr))
			}
		}()
		ctx, moved, end := c.whileItMoves(ctx)
		defer end()
		event := esclient.EventData{Type: "esctl-bench", Data: bytes.Repeat([]byte("x"), f.size)}
		var results []benchJSON
		for _, part := range []func() (benchJSON, error){
			func() (benchJSON, error) { return benchAppend(ctx, client, stream, event, f, moved) },
			func() (benchJSON, error) { return benchBatch(ctx, client, stream, event, f, moved) },
			func() (benchJSON, error) { return benchRead(ctx, client, stream, moved) },
		} {
			result, err := part()
			if err != nil {
				return timedOut(ctx, err)
			}
			results = append(results, result)
		}
		head := []string{"OPERATION", "EVENTS", "SECONDS", "EVENTS/S", "P50 MS", "P99 MS", "MAX MS"}
		return printList(c, results, head, func(b benchJSON) []any {
			row := []any{b.Operation, b.Events, fmt.Sprintf("%.3f", b.Seconds), fmt.Sprintf("%.0f", b.EventsPerSecond)}
			for _, ms := range []float64{b.P50MS, b.P99MS, b.MaxMS} {
				row = append(row, strings.Replace(fmt.Sprintf("%.3f", ms), "0.000", "-", 1))
			}
			return row
		})
	})
}

// measured is the result of a part that began at some time.
func measured(operation string, events int64, begin time.Time) benchJSON {
	seconds := time.Since(begin).Seconds()
	return benchJSON{
		Operation: operation, Events: events, Seconds: seconds, EventsPerSecond: float64(events) / seconds,
	}
}

func benchAppend(
	ctx context.Context, client *esclient.Client, stream string, event esclient.EventData, f *benchFlags, moved func(),
) (benchJSON, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		next      atomic.Int64
		group     sync.WaitGroup
		latencies = make([]time.Duration, f.events)
	)
	begin := time.Now()
	for range min(f.concurrency, f.events) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(f.events); i = next.Add(1) - 1 {
				start := time.Now()
				if _, err := client.Append(ctx, stream, esclient.Any, event); err != nil {
					stop(err)
					return
				}
				latencies[i] = time.Since(start)
				moved()
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return benchJSON{}, context.Cause(ctx)
	}
	result := measured("append", int64(f.events), begin)
	slices.Sort(latencies)
	at := func(share float64) float64 {
		return float64(latencies[int(share*float64(len(latencies)-1))]) / float64(time.Millisecond)
	}
	result.P50MS, result.P99MS, result.MaxMS = at(0.5), at(0.99), at(1)
	return result, nil
}

func benchBatch(
	ctx context.Context, client *esclient.Client, stream string, event esclient.EventData, f *benchFlags, moved func(),
) (benchJSON, error) {
	begin := time.Now()
	source := func(yield func(esclient.EventData, error) bool) {
		for range f.events {
			if !yield(event, nil) {
				return
			}
		}
	}
	written, err := client.AppendFrom(ctx, stream, esclient.Any, source, esclient.AppendFromOptions{
		Progress: func(esclient.AppendFromResult) { moved() },
	})
	return measured("batch", written.Events, begin), err
}

func benchRead(ctx context.Context, client *esclient.Client, stream string, moved func()) (benchJSON, error) {
	begin := time.Now()
	n := int64(0)
	for _, err := range client.ReadStream(ctx, stream, esclient.ReadOptions{PageSize: esclient.MaxPageSize}) {
		if err != nil {
			return benchJSON{}, err
		}
		n++
		moved()
	}
	return measured("read", n, begin), nil
}
