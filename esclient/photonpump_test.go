package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// What follows is the code of docs/photon-pump.md, which TestTheMigrationPage holds against this file.

type Jump struct {
	Pony     string
	Height   float64
	Distance float64
}

func connectAndPing(ctx context.Context, url string) error {
	client, err := esclient.Open(url) // tcp://user:password@host:1113
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Ping(ctx)
	return err
}

func publishOne(ctx context.Context, client *esclient.Client, stream string) (int64, error) {
	event, err := esclient.JSONEvent("PonyJumped", Jump{Pony: "Derpy", Height: 10, Distance: 13})
	if err != nil {
		return 0, err
	}
	result, err := client.Append(ctx, stream, esclient.Any, event)
	return result.LastEventNumber, err
}

func readOne(ctx context.Context, client *esclient.Client, stream string, number int64) (Jump, error) {
	var jump Jump
	event, err := client.ReadEvent(ctx, stream, number, esclient.ReadEventOptions{})
	if err != nil {
		return jump, err
	}
	err = event.JSON(&jump)
	return jump, err
}

func publishSeveral(ctx context.Context, client *esclient.Client, stream string, jumps []Jump) error {
	var events []esclient.EventData
	for _, jump := range jumps {
		event, err := esclient.JSONEvent("PonyJumped", jump)
		if err != nil {
			return err
		}
		events = append(events, event)
	}
	_, err := client.Append(ctx, stream, esclient.Any, events...) // all or none
	return err
}

func readPages(ctx context.Context, client *esclient.Client, stream string) (first, last []esclient.Event, err error) {
	page, err := client.ReadStreamPage(ctx, stream, esclient.ReadOptions{PageSize: 2})
	if err != nil {
		return nil, nil, err
	}
	backward, err := client.ReadStreamPage(ctx, stream, esclient.ReadOptions{PageSize: 2, Backward: true})
	return page.Events, backward.Events, err
}

func iterate(ctx context.Context, client *esclient.Client, stream string) (metres []float64, err error) {
	for event, err := range client.ReadStream(ctx, stream, esclient.ReadOptions{}) {
		if err != nil {
			return nil, err
		}
		var jump Jump
		if event.Type != "PonyJumped" || event.JSON(&jump) != nil {
			continue
		}
		metres = append(metres, jump.Height*0.3048)
	}
	return metres, nil
}

func iterateAll(ctx context.Context, client *esclient.Client) (latest *esclient.Event, err error) {
	for event, err := range client.ReadAll(ctx, esclient.ReadAllOptions{Backward: true}) {
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(event.Stream, "$") {
			return event, nil // leaving the loop frees everything
		}
	}
	return nil, nil
}

func ticker(ctx context.Context, every time.Duration) iter.Seq2[esclient.EventData, error] {
	return func(yield func(esclient.EventData, error) bool) {
		for i := 0; ctx.Err() == nil; i++ {
			if !yield(esclient.JSONEvent("tick", map[string]int{"tick": i})) {
				return
			}
			select {
			case <-time.After(every):
			case <-ctx.Done():
			}
		}
	}
}

func publishEndlessly(ctx context.Context, client *esclient.Client, stream string) error {
	result, err := client.AppendFrom(ctx, stream, esclient.NoStream,
		ticker(ctx, 10*time.Millisecond), esclient.AppendFromOptions{})
	fmt.Println(result.Events, "ticks are written")
	return err
}

func consumeGroup(
	ctx context.Context, client *esclient.Client, stream, group string, handle func(*esclient.Event) error,
) error {
	err := client.CreatePersistent(ctx, stream, group, esclient.DefaultPersistentSettings())
	if err != nil && !errors.Is(err, esclient.ErrGroupExists) {
		return err
	}
	subscription, err := client.ConnectPersistent(ctx, stream, group, esclient.PersistentOptions{InFlight: 20})
	if err != nil {
		return err
	}
	defer subscription.Stop(context.WithoutCancel(ctx))
	for event, err := range subscription.All(ctx) {
		if err != nil {
			return err
		}
		if err := handle(event); err != nil {
			subscription.Nack(esclient.NackPark, err.Error(), event)
			continue
		}
		subscription.Ack(event)
	}
	return nil
}

func follow(ctx context.Context, client *esclient.Client, stream string, handle func(*esclient.Event)) error {
	subscription, err := client.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	if err != nil {
		return err
	}
	defer subscription.Stop()
	for event, err := range subscription.All(ctx) {
		if err != nil {
			return err
		}
		handle(event)
	}
	return nil
}

func replay(
	ctx context.Context, client *esclient.Client, stream string, from int64, handle func(*esclient.Event),
) error {
	subscription, err := client.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{Start: esclient.FromNumber(from)})
	if err != nil {
		return err
	}
	defer subscription.Stop()
	for event, err := range subscription.All(ctx) {
		if err != nil {
			return err
		}
		handle(event)
	}
	return nil
}

func typedErrors(ctx context.Context, client *esclient.Client, stream string, event esclient.EventData) error {
	_, err := client.Append(ctx, stream, esclient.NoStream, event)
	var wrong *esclient.WrongExpectedVersionError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("another writer was first, the stream is at %d: %w", wrong.Current, err)
	case errors.Is(err, esclient.ErrOutcomeUnknown):
		return fmt.Errorf("it may be written: %w", err)
	}
	return err
}

// The end of the code of docs/photon-pump.md.

// TestTheMigrationPage holds that every block of Go of the page stands in this file, whose code is compiled and run.
func TestTheMigrationPage(t *testing.T) {
	page, err := os.ReadFile("../docs/photon-pump.md")
	require.NoError(t, err)
	source, err := os.ReadFile("photonpump_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(page, -1)
	assert.GreaterOrEqual(t, len(blocks), 12)
	for _, block := range blocks {
		assert.Contains(t, string(source), string(block[1]))
	}
}

func TestTheMigrationPageWorks(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	url := undertest.URL(t)
	c, ctx, stream := open(t, url), testContext(t), name("ponies")
	require.NoError(t, connectAndPing(ctx, url))

	number, err := publishOne(ctx, c, stream)
	require.NoError(t, err)
	assert.Zero(t, number)
	jump, err := readOne(ctx, c, stream, number)
	require.NoError(t, err)
	assert.Equal(t, Jump{"Derpy", 10, 13}, jump)

	require.NoError(t, publishSeveral(ctx, c, stream, []Jump{{"Peculiar", 9, 13}, {"Sparkly", 12, 12}}))
	first, last, err := readPages(ctx, c, stream)
	require.NoError(t, err)
	numbers := func(events []esclient.Event) (n []int64) {
		for _, e := range events {
			n = append(n, e.Number)
		}
		return n
	}
	assert.Equal(t, []int64{0, 1}, numbers(first))
	assert.Equal(t, []int64{2, 1}, numbers(last))
	metres, err := iterate(ctx, c, stream)
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float64{3.048, 2.7432, 3.6576}, metres, 1e-9)
	latest, err := iterateAll(ctx, c)
	require.NoError(t, err)
	assert.NotNil(t, latest)

	err = typedErrors(ctx, c, stream, esclient.EventData{Type: "x"})
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	assert.ErrorContains(t, err, "the stream is at 2")
}

func TestTheMigrationPageSubscribes(t *testing.T) {
	undertest.AdminOnly(t, "it makes a group")
	c, ctx, stream := connect(t), testContext(t), name("ponies")
	require.NoError(t, publishSeveral(ctx, c, stream, []Jump{{"Peculiar", 9, 13}, {"Sparkly", 12, 12}}))

	ticking, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	require.ErrorIs(t, publishEndlessly(ticking, c, stream+"-ticks"), context.DeadlineExceeded)
	_, err := c.ReadEvent(ctx, stream+"-ticks", 0, esclient.ReadEventOptions{})
	require.NoError(t, err)

	// Each of these goes on until its context ends, here with the first event of the type "last".
	for what, consume := range map[string]func(context.Context, func(*esclient.Event)) error{
		"volatile": func(ctx context.Context, handle func(*esclient.Event)) error {
			return follow(ctx, c, stream, handle)
		},
		"catch-up": func(ctx context.Context, handle func(*esclient.Event)) error {
			return replay(ctx, c, stream, 1, handle)
		},
		"persistent": func(ctx context.Context, handle func(*esclient.Event)) error {
			return consumeGroup(ctx, c, stream, "ponies", func(e *esclient.Event) error {
				handle(e)
				return nil
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			consuming, cancel := context.WithCancel(ctx)
			defer cancel()
			var got []int64
			ended := make(chan error, 1)
			go func() {
				ended <- consume(consuming, func(e *esclient.Event) {
					got = append(got, e.Number)
					if e.Type == "last" {
						cancel()
					}
				})
			}()
			for {
				_, err := c.Append(ctx, stream, esclient.Any, esclient.EventData{Type: "last"})
				require.NoError(t, err)
				select {
				case err := <-ended:
					assert.ErrorIs(t, err, context.Canceled)
					assert.True(t, slices.IsSorted(got))
					assert.NotEmpty(t, got)
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
}
