package esclient_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// fromStart are settings of a group that begins with the first event.
func fromStart() esclient.PersistentSettings {
	s := esclient.DefaultPersistentSettings()
	s.StartFrom = 0
	return s
}

// group makes a group on a stream of its own.
func group(t testing.TB, c *esclient.Client, s esclient.PersistentSettings) (stream, group string) {
	t.Helper()
	stream, group = name("s"), "group"
	require.NoError(t, c.CreatePersistent(asAdmin(testContext(t)), stream, group, s))
	return stream, group
}

func subscribe(
	t testing.TB, c *esclient.Client, stream, group string, opts esclient.PersistentOptions,
) *esclient.PersistentSubscription {
	t.Helper()
	p, err := c.ConnectPersistent(testContext(t), stream, group, opts)
	require.NoError(t, err)
	return p
}

// consume takes and acks n events and returns their data.
func consume(t testing.TB, p *esclient.PersistentSubscription, n int) (data []string) {
	t.Helper()
	ctx := testContext(t)
	for range n {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		data = append(data, string(e.Data))
		require.NoError(t, p.Ack(e))
	}
	return data
}

// parked returns the events of a group's parked stream.
func parked(t testing.TB, c *esclient.Client, stream, group string) (events []*esclient.Event) {
	t.Helper()
	park := "$persistentsubscription-" + stream + "::" + group + "-parked"
	for e, err := range c.ReadStream(asAdmin(testContext(t)), park, esclient.ReadOptions{ResolveLinks: true}) {
		if err != nil {
			assert.ErrorIs(t, err, esclient.ErrStreamNotFound)
			return nil
		}
		events = append(events, e)
	}
	return events
}

func TestGroupsAreCreatedUpdatedDeleted(t *testing.T) {
	c, ctx := connect(t), asAdmin(testContext(t))
	stream, group := group(t, c, fromStart())
	assert.ErrorIs(t, c.CreatePersistent(ctx, stream, group, fromStart()), esclient.ErrGroupExists)
	assert.NoError(t, c.UpdatePersistent(ctx, stream, group, fromStart()))
	assert.ErrorIs(t, c.UpdatePersistent(ctx, stream, "other", fromStart()), esclient.ErrGroupNotFound)
	if !trusts(t, c) {
		nobody := esclient.WithCredentials(ctx, esclient.Credentials{Login: "nobody", Password: "x"})
		assert.ErrorIs(t, c.DeletePersistent(nobody, stream, group), esclient.ErrNotAuthenticated)
	}
	assert.NoError(t, c.DeletePersistent(ctx, stream, group))
	assert.ErrorIs(t, c.DeletePersistent(ctx, stream, group), esclient.ErrGroupNotFound)
	_, err := c.ConnectPersistent(ctx, stream, group, esclient.PersistentOptions{})
	assert.ErrorIs(t, err, esclient.ErrGroupNotFound)
	var op *esclient.OperationError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, "group", op.Group)

	unknown := fromStart()
	unknown.Strategy = "Roulette"
	assert.ErrorIs(t, c.CreatePersistent(ctx, stream, group, unknown), esclient.ErrServer)
}

func TestGroupSettingsAreRefusedWithAnExplanation(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for field, spoil := range map[string]func(s *esclient.PersistentSettings){
		"StartFrom":          func(s *esclient.PersistentSettings) { s.StartFrom = -2 },
		"MessageTimeout":     func(s *esclient.PersistentSettings) { s.MessageTimeout = 0 },
		"CheckpointAfter":    func(s *esclient.PersistentSettings) { s.CheckpointAfter = -time.Second },
		"LiveBufferSize":     func(s *esclient.PersistentSettings) { s.LiveBufferSize = 0 },
		"ReadBatchSize":      func(s *esclient.PersistentSettings) { s.ReadBatchSize = s.BufferSize },
		"BufferSize":         func(s *esclient.PersistentSettings) { s.BufferSize = math.MaxInt },
		"MaxRetryCount":      func(s *esclient.PersistentSettings) { s.MaxRetryCount = -1 },
		"CheckpointMinCount": func(s *esclient.PersistentSettings) { s.CheckpointMinCount = -1 },
		"CheckpointMaxCount": func(s *esclient.PersistentSettings) { s.CheckpointMaxCount = -1 },
		"MaxSubscriberCount": func(s *esclient.PersistentSettings) { s.MaxSubscriberCount = -1 },
	} {
		s := fromStart()
		require.NoError(t, s.Validate())
		spoil(&s)
		err := c.CreatePersistent(ctx, "s", "g", s)
		var e *esclient.ArgumentError
		require.ErrorAs(t, err, &e, field)
		assert.Equal(t, "PersistentSettings."+field, e.Argument)
	}
	for what, try := range map[string]func() error{
		"stream": func() error { return c.CreatePersistent(ctx, "", "g", fromStart()) },
		"$all":   func() error { return c.CreatePersistent(ctx, esclient.AllStream, "g", fromStart()) },
		"group":  func() error { return c.CreatePersistent(ctx, "s", "", fromStart()) },
		"window": func() error {
			_, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{InFlight: -1})
			return err
		},
		"ack delay": func() error {
			_, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{AckDelay: -1})
			return err
		},
		"memory": func() error {
			_, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{InFlight: 100, RememberAcked: 99})
			return err
		},
		"recreate": func() error {
			_, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{
				Recreate: &esclient.PersistentSettings{},
			})
			return err
		},
	} {
		assert.ErrorIs(t, try(), esclient.ErrInvalidArgument, what)
	}
}

func TestPersistentConsumesInOrder(t *testing.T) {
	c := connect(t)
	for _, inFlight := range []int{1, 2, 10, 200} {
		stream, group := group(t, c, fromStart())
		appendNumbered(t, c, stream, 0, 499)
		p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: inFlight})
		assert.Equal(t, words(0, 499), consume(t, p, 500))
		appendNumbered(t, c, stream, 500, 509)
		assert.Equal(t, words(500, 509), consume(t, p, 10))
		nothingMore(t, p.Next)
		require.NoError(t, p.Stop(testContext(t)))
		_, err := p.Next(testContext(t))
		assert.ErrorIs(t, err, esclient.ErrSubscriptionStopped)
		assert.ErrorIs(t, p.Ack(), esclient.ErrSubscriptionStopped)
		<-p.Closed()
	}
}

func TestStopGivesBackUnackedEvents(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 9)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	assert.Equal(t, words(0, 3), consume(t, p, 4))
	e, err := p.Next(ctx)
	require.NoError(t, err)
	assert.Equal(t, "4", string(e.Data))
	require.NoError(t, p.Stop(ctx))
	next := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	e, err = next.Next(ctx)
	require.NoError(t, err)
	assert.Equal(t, "4", string(e.Data), "the acks were sent before, the rest came back at once")
	assert.EqualValues(t, 1, e.RetryCount)
	require.NoError(t, next.Ack(e))
	assert.Equal(t, words(5, 9), consume(t, next, 5))
}

func TestNacks(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 4)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	next := func() *esclient.Event {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		return e
	}
	events := map[string]*esclient.Event{}
	for range 5 {
		e := next()
		events[string(e.Data)] = e
	}
	assert.ErrorIs(t, p.Nack(99, "", events["0"]), esclient.ErrInvalidArgument)
	require.NoError(t, p.Nack(esclient.NackRetry, "once more", events["2"]))
	e := next()
	assert.Equal(t, "2", string(e.Data))
	assert.EqualValues(t, 1, e.RetryCount)
	require.NoError(t, p.Nack(esclient.NackPark, "no good", e))
	require.NoError(t, p.Nack(esclient.NackSkip, "", events["3"]))
	require.NoError(t, p.Nack(esclient.NackStop, "", events["4"]))
	require.NoError(t, p.Ack(events["0"], events["1"]))
	require.NoError(t, p.Ack(events["0"]), "acking twice does no harm")
	nothingMore(t, p.Next)
	require.NoError(t, p.Stop(ctx))
	var inPark []*esclient.Event
	require.Eventually(t, func() bool {
		inPark = parked(t, c, stream, group)
		return len(inPark) == 1
	}, patience, 5*time.Millisecond)
	assert.Equal(t, "2", string(inPark[0].Data))
	var why struct{ Reason string }
	require.NoError(t, inPark[0].Link.MetadataJSON(&why))
	assert.Contains(t, why.Reason, "no good")
	q := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	nothingMore(t, q.Next)
}

func TestEventsThatTimeOutComeAgainOnce(t *testing.T) {
	t.Parallel()
	c, ctx := connect(t), testContext(t)
	s := fromStart()
	s.MessageTimeout = 100 * time.Millisecond
	stream, group := group(t, c, s)
	appendNumbered(t, c, stream, 0, 0)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	e, err := p.Next(ctx)
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, 2500*time.Millisecond)
	defer cancel()
	_, err = p.Next(short)
	assert.ErrorIs(t, err, context.DeadlineExceeded, "what the consumer holds is not handed out again")
	require.NoError(t, p.Ack(e))
	require.NoError(t, p.Stop(ctx))
	q := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	nothingMore(t, q.Next)
}

func TestMaxSubscribers(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	s := fromStart()
	s.MaxSubscriberCount = 1
	stream, group := group(t, c, s)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	_, err := c.ConnectPersistent(ctx, stream, group, esclient.PersistentOptions{})
	assert.ErrorIs(t, err, esclient.ErrMaxSubscribers)
	var dropped *esclient.SubscriptionDroppedError
	require.ErrorAs(t, err, &dropped)
	assert.Equal(t, esclient.DropMaxSubscribers, dropped.Reason)
	require.NoError(t, p.Stop(ctx))
	subscribe(t, c, stream, group, esclient.PersistentOptions{})
}

func TestLinksAreAckedByTheirOwnID(t *testing.T) {
	c, ctx, target := connect(t), testContext(t), name("target")
	s := fromStart()
	s.ResolveLinks = true
	stream, group := group(t, c, s)
	appendNumbered(t, c, target, 0, 1)
	_, err := c.Append(ctx, stream, esclient.Any,
		esclient.EventData{Type: "$>", Data: []byte("0@" + target)},
		esclient.EventData{Type: "$>", Data: []byte("99@" + target)},
		esclient.EventData{Type: "$>", Data: []byte("1@" + target)})
	require.NoError(t, err)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 1})
	var unresolved []bool
	for range 3 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		unresolved = append(unresolved, e.Unresolved)
		require.NoError(t, p.Ack(e))
	}
	assert.Equal(t, []bool{false, true, false}, unresolved)
	nothingMore(t, p.Next)
}

func TestReconnectIsInvisibleToTheConsumer(t *testing.T) {
	srv, c := embedded(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 19)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	var held []*esclient.Event
	for range 4 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		held = append(held, e)
	}
	srv.Pause() // the acks are not read before the connection is lost
	require.NoError(t, p.Ack(held[0], held[1]))
	srv.DropConnections()
	srv.Resume()
	// 0 and 1 are settled again, 2 and 3 are still with the consumer: the next one is 4.
	assert.Equal(t, words(4, 19), consume(t, p, 16))
	require.NoError(t, p.Ack(held[2]))
	require.NoError(t, p.Nack(esclient.NackPark, "late", held[3]))
	nothingMore(t, p.Next)
	require.NoError(t, p.Stop(ctx))
	q := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	nothingMore(t, q.Next)
	assert.Len(t, parked(t, c, stream, group), 1)
}

func TestARestartDeliversNothingTwice(t *testing.T) {
	srv, c := embedded(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 99)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	assert.Equal(t, words(0, 49), consume(t, p, 50))
	require.NoError(t, srv.Crash()) // goes on behind the checkpoint: acked events come again
	assert.Equal(t, words(50, 99), consume(t, p, 50))
	nothingMore(t, p.Next)
}

func TestDroppedByAnUpdate(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	require.NoError(t, c.UpdatePersistent(asAdmin(ctx), stream, group, fromStart()))
	appendNumbered(t, c, stream, 0, 3)
	assert.Equal(t, words(0, 3), consume(t, p, 4), "it came back by itself")
}

func TestADeletedGroupEndsTheSubscriptionOrIsRecreated(t *testing.T) {
	undertest.AdminOnly(t, "groups are made and deleted")
	t.Parallel()
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	settings := fromStart()
	ending := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	require.NoError(t, c.DeletePersistent(ctx, stream, group))
	_, err := ending.Next(ctx)
	assert.ErrorIs(t, err, esclient.ErrGroupNotFound)
	<-ending.Closed()

	require.NoError(t, c.CreatePersistent(ctx, stream, group, settings))
	renewing := subscribe(t, c, stream, group, esclient.PersistentOptions{Recreate: &settings})
	appendNumbered(t, c, stream, 0, 3)
	assert.Equal(t, words(0, 3), consume(t, renewing, 4))
	require.NoError(t, c.DeletePersistent(ctx, stream, group))
	assert.Equal(t, words(0, 3), consume(t, renewing, 4), "the new group begins at the beginning")
}

func TestPersistentDrain(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 29)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 10})
	e, err := p.Next(ctx)
	require.NoError(t, err)
	_, err = c.Ping(ctx) // the other nine have come
	require.NoError(t, err)
	p.Drain()
	held := []*esclient.Event{e}
	for e, err := range p.All(ctx) {
		require.NoError(t, err)
		held = append(held, e)
	}
	assert.Len(t, held, 10)
	require.NoError(t, p.Err(), "it lasts until all delivered events are settled")
	require.NoError(t, p.Ack(held...))
	<-p.Closed()
	q := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	assert.Equal(t, words(10, 29), consume(t, q, 20))
}

func TestCloseSendsTheAcks(t *testing.T) {
	c, other := connectTwice(t)
	stream, group := group(t, other, fromStart())
	appendNumbered(t, other, stream, 0, 9)
	p, err := c.ConnectPersistent(testContext(t), stream, group, esclient.PersistentOptions{
		AckDelay: time.Hour, InFlight: 100,
	})
	require.NoError(t, err)
	assert.Equal(t, words(0, 4), consume(t, p, 5))
	require.NoError(t, c.Close())
	_, err = p.Next(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrClosed)
	assert.ErrorIs(t, p.Ack(), esclient.ErrClosed)
	q := subscribe(t, other, stream, group, esclient.PersistentOptions{})
	assert.Equal(t, words(5, 9), consume(t, q, 5))
}

func TestManyConsumersOfOneGroup(t *testing.T) {
	srv, c := embedded(t)
	const total, consumers = 3000, 8
	stream, group := group(t, c, fromStart())
	var (
		mu   sync.Mutex
		seen = map[string]int{}
		all  = make(chan struct{})
		wg   sync.WaitGroup
		subs []*esclient.PersistentSubscription
	)
	defer func() {
		for _, p := range subs {
			assert.NoError(t, p.Stop(testContext(t)))
		}
		wg.Wait()
	}()
	for range consumers {
		p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 20})
		subs = append(subs, p)
		wg.Go(func() {
			for e, err := range p.All(testContext(t)) {
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				if seen[string(e.Data)]++; len(seen) == total && seen[string(e.Data)] == 1 {
					close(all)
				}
				mu.Unlock()
				if err := p.Ack(e); err != nil {
					assert.ErrorIs(t, err, esclient.ErrSubscriptionStopped)
				}
			}
		})
	}
	for n := 0; n < total; n += 100 {
		_, err := c.Append(testContext(t), stream, esclient.ExpectedVersion(n-1), numbered(n, n+99)...)
		require.NoError(t, err)
		if n%1000 == 500 {
			srv.DropConnections()
		}
	}
	select {
	case <-all:
	case <-testContext(t).Done():
		mu.Lock()
		t.Errorf("%d of %d events were consumed", len(seen), total)
		mu.Unlock()
	}
}

func TestEventsWithTheSameIDAreDistinguished(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	one := numbered(0, 0)
	one[0].ID = [16]byte{1, 2, 3, byte(unique.Add(1))}
	other := esclient.EventData{Type: "t", Data: []byte("1")}
	_, err := c.Append(ctx, stream, esclient.NoStream, one...)
	require.NoError(t, err)
	_, err = c.Append(ctx, stream, 0, other, one[0]) // new first: all of it is written
	require.NoError(t, err)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 1})
	assert.Equal(t, []string{"0", "1", "0"}, consume(t, p, 3))
}

// connectTwice returns two clients of the same server.
func connectTwice(t testing.TB) (a, b *esclient.Client) {
	t.Helper()
	url := undertest.URL(t)
	return open(t, url), open(t, url)
}
