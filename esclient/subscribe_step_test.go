package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// impatient returns the data of the next n events to a caller whose contexts end long before the server has answered.
func impatient(t *testing.T, next func(context.Context) (*esclient.Event, error), n int) (data []string) {
	t.Helper()
	limit := testContext(t)
	for len(data) < n && limit.Err() == nil {
		ctx, cancel := context.WithTimeout(limit, 2*time.Millisecond)
		e, err := next(ctx)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		data = append(data, string(e.Data))
	}
	return data
}

// TestNextContinuesAnEarlierStep has a server that takes ten times as long as the callers of Next wait.
func TestNextContinuesAnEarlierStep(t *testing.T) {
	for kind, subscribe := range map[string]func(*esclient.Client) (*esclient.Subscription, error){
		"catch-up": func(c *esclient.Client) (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(testContext(t), "s", esclient.CatchUpOptions{
				Start: esclient.AfterNumber(4), PageSize: 4,
			})
		},
		"catch-up in $all": func(c *esclient.Client) (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(testContext(t), esclient.AllStream, esclient.CatchUpOptions{
				Start: esclient.FromEnd(), PageSize: 4,
			})
		},
		"volatile": func(c *esclient.Client) (*esclient.Subscription, error) {
			return c.SubscribeVolatile(testContext(t), "s", esclient.VolatileOptions{FillGaps: true})
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			srv, writer := embedded(t)
			appendNumbered(t, writer, "s", 0, 4)
			c := open(t, srv.ConnectionString())
			s, err := subscribe(c)
			require.NoError(t, err)
			defer s.Stop()
			next := of("s", s.Next)
			var reads []*estest.Rule
			for _, cmd := range []esproto.Command{
				esproto.CmdReadStreamEventsForward, esproto.CmdReadAllEventsForward, esproto.CmdSubscribeToStream,
			} {
				reads = append(reads, srv.Intercept(cmd, estest.Delay(20*time.Millisecond)))
			}
			for round := range 3 {
				srv.DropConnections()
				require.NoError(t, writer.Connect(testContext(t)))
				from := 5 + 10*round
				at := esclient.ExpectedVersion(from - 1)
				_, err := writer.Append(testContext(t), "s", at, numbered(from, from+9)...)
				require.NoError(t, err)
				assert.Equal(t, words(from, from+9), impatient(t, next, 10))
			}
			hits := 0
			for _, r := range reads {
				hits += r.Hits()
			}
			assert.Less(t, hits, 60, "requests: none is repeated because no caller waited for it")
		})
	}
}

// TestAStepEndsWithItsSubscription has a server that never answers the request of Next.
func TestAStepEndsWithItsSubscription(t *testing.T) {
	for what, end := range map[string]func(*testing.T, *esclient.Client, *esclient.Subscription) error{
		"stop": func(_ *testing.T, _ *esclient.Client, s *esclient.Subscription) error {
			s.Stop()
			return esclient.ErrSubscriptionStopped
		},
		"drain": func(_ *testing.T, _ *esclient.Client, s *esclient.Subscription) error {
			s.Drain()
			return esclient.ErrSubscriptionStopped
		},
		"close": func(t *testing.T, c *esclient.Client, _ *esclient.Subscription) error {
			require.NoError(t, c.Close())
			return esclient.ErrClosed
		},
	} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Next waits: %v", what, waits), func(t *testing.T) {
				srv, c := embedded(t)
				appendNumbered(t, c, "s", 0, 2)
				s, err := c.SubscribeCatchUp(testContext(t), "s", esclient.CatchUpOptions{PageSize: 1})
				require.NoError(t, err)
				assert.Equal(t, words(0, 0), take(t, s.Next, 1))
				lost := srv.Intercept(esproto.CmdReadStreamEventsForward, estest.Drop())
				assert.Empty(t, impatientOnce(s))
				eventually(t, func() bool { return lost.Hits() == 1 })
				result := make(chan error, 1)
				if waits {
					go func() { _, err := s.Next(testContext(t)); result <- err }()
					time.Sleep(5 * time.Millisecond) // or it waits a little later, with the same result
				}
				want := end(t, c, s)
				if !waits {
					_, err := s.Next(testContext(t))
					result <- err
				}
				assert.ErrorIs(t, <-result, want)
				assert.ErrorIs(t, s.Err(), want)
				<-s.Closed()
			})
		}
	}
}

// impatientOnce calls Next with little time.
func impatientOnce(s *esclient.Subscription) (data string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
	defer cancel()
	e, err := s.Next(ctx)
	if err != nil {
		return ""
	}
	return string(e.Data)
}

// TestNextSaysWhyThereIsNoConnection has Next run out of time while the server is gone.
func TestNextSaysWhyThereIsNoConnection(t *testing.T) {
	srv, c := embedded(t)
	s, err := c.SubscribeCatchUp(testContext(t), "s", esclient.CatchUpOptions{})
	require.NoError(t, err)
	defer s.Stop()
	waitUntil(t, s.Next, s.CaughtUp())
	srv.Close()
	eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		_, err := s.Next(ctx)
		var no *esclient.NotConnectedError
		return assert.ErrorIs(t, err, context.DeadlineExceeded) && errors.As(err, &no)
	})
	assert.NoError(t, s.Err(), "it goes on trying")
}

// TestSubscribeReturnsTheServersRefusal subscribes as a user who may not read, to a stream that is gone, and
// with a filter that the server does not know.
func TestSubscribeReturnsTheServersRefusal(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		srv, admin := embeddedAsAdmin(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
		plain := open(t, "tcp://plain:changeit@"+srv.Addr())
		secret := esclient.StreamMetadata{ACL: esclient.StreamACL{Read: []string{"$admins"}}}
		_, err := admin.SetStreamMetadata(testContext(t), "secret", esclient.Any, secret)
		require.NoError(t, err)
		appendNumbered(t, admin, "secret", 0, 2)
		appendNumbered(t, admin, "gone", 0, 2)
		_, err = admin.TombstoneStream(testContext(t), "gone", esclient.Any)
		require.NoError(t, err)
		filter := &esclient.Filter{StreamPrefixes: []string{"s"}}
		for what, tc := range map[string]struct {
			c      *esclient.Client
			stream string
			filter *esclient.Filter
			want   error
		}{
			"$all":         {plain, esclient.AllStream, nil, esclient.ErrAccessDenied},
			"ACL":          {plain, "secret", nil, esclient.ErrAccessDenied},
			"tombstone":    {plain, "gone", nil, esclient.ErrStreamDeleted},
			"as an admin":  {admin, "gone", nil, esclient.ErrStreamDeleted},
			"filter":       {admin, esclient.AllStream, filter, esclient.ErrNotSupported},
			"open to all":  {plain, "open", nil, nil},
			"open to some": {admin, "secret", nil, nil},
		} {
			if what == "filter" && persona == estest.Persona2310 {
				tc.want = nil
			}
			for kind, subscribe := range map[string]func(context.Context) (*esclient.Subscription, error){
				"volatile": func(ctx context.Context) (*esclient.Subscription, error) {
					return tc.c.SubscribeVolatile(ctx, tc.stream, esclient.VolatileOptions{Filter: tc.filter})
				},
				"volatile, gaps filled": func(ctx context.Context) (*esclient.Subscription, error) {
					return tc.c.SubscribeVolatile(ctx, tc.stream,
						esclient.VolatileOptions{Filter: tc.filter, FillGaps: true})
				},
				"catch-up": func(ctx context.Context) (*esclient.Subscription, error) {
					return catchUpReady(ctx, tc.c, tc.stream, esclient.CatchUpOptions{Filter: tc.filter})
				},
				"catch-up from the end": func(ctx context.Context) (*esclient.Subscription, error) {
					return tc.c.SubscribeCatchUp(ctx, tc.stream,
						esclient.CatchUpOptions{Filter: tc.filter, Start: esclient.FromEnd()})
				},
			} {
				s, err := subscribe(testContext(t))
				if tc.want == nil {
					require.NoError(t, err, "%s, %s, %s", persona, what, kind)
					s.Stop()
					continue
				}
				assert.ErrorIs(t, err, tc.want, "%s, %s, %s", persona, what, kind)
				assert.Nil(t, s, "%s, %s, %s", persona, what, kind)
			}
		}
	}
}

// catchUpReady subscribes and waits for the server's word on it.
func catchUpReady(
	ctx context.Context, c *esclient.Client, stream string, opts esclient.CatchUpOptions,
) (*esclient.Subscription, error) {
	s, err := c.SubscribeCatchUp(ctx, stream, opts)
	if err != nil {
		return nil, err
	}
	if err := s.Ready(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// TestNextReturnsTheServersRefusal does not ask whether a catch-up is ready.
func TestNextReturnsTheServersRefusal(t *testing.T) {
	_, admin := embedded(t)
	ctx := testContext(t)
	bury(t, admin)
	ops := asOps(ctx)
	for stream, want := range map[string]error{"s": esclient.ErrStreamDeleted, "$users": esclient.ErrAccessDenied} {
		s, err := admin.SubscribeCatchUp(ops, stream, esclient.CatchUpOptions{})
		require.NoError(t, err)
		_, err = s.Next(ctx)
		assert.ErrorIs(t, err, want)
		assert.ErrorIs(t, s.Ready(ctx), want)
	}
}

// TestSubscribeWaitsForTheServer has Subscribe called while the server is away.
func TestSubscribeWaitsForTheServer(t *testing.T) {
	srv := estest.Run(t)
	s := newStand(t, srv, "admin")
	appendNumbered(t, s.c, "s", 0, 2)
	s.addr.Store("127.0.0.1:1")
	srv.DropConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := catchUpReady(ctx, s.c, "s", esclient.CatchUpOptions{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var no *esclient.NotConnectedError
	assert.ErrorAs(t, err, &no)
	done := make(chan error, 1)
	go func() {
		sub, err := catchUpReady(testContext(t), s.c, "s", esclient.CatchUpOptions{})
		if err == nil {
			sub.Stop()
		}
		done <- err
	}()
	s.addr.Store(srv.Addr())
	assert.NoError(t, <-done)
}

// TestSubscribingWaitsForAnElection has a server say for a while that it is not ready, at first and in between.
func TestSubscribingWaitsForAnElection(t *testing.T) {
	t.Parallel()
	for kind, k := range wentBackKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t)
			s := newStand(t, srv, "admin")
			notReady := func() {
				for _, cmd := range []esproto.Command{
					esproto.CmdSubscribeToStream, esproto.CmdReadStreamEventsForward, esproto.CmdReadAllEventsForward,
					esproto.CmdReadStreamEventsBackward, esproto.CmdReadAllEventsBackward,
				} {
					srv.Intercept(cmd, estest.NotReady(), estest.Times(2))
				}
			}
			notReady()
			sub := s.subscribe(t, k.all, k.live, k.gaps, k.over)
			got := consumeAll(t, sub, "s")
			<-sub.CaughtUp()
			putNamed(t, srv, "s", "e", 0, 4)
			got.is(t, named("e", 0, 4))
			notReady()
			srv.DropConnections()
			s.log.waitSubscribed(t, 2)
			putNamed(t, srv, "s", "e", 5, 9)
			got.is(t, named("e", 0, 9))
		})
	}
}

// failedRead answers a read with an error that it does not explain.
func failedRead() estest.Action {
	return estest.Reply(esproto.CmdReadStreamEventsForwardCompleted, &esproto.ReadStreamEventsCompleted{
		Result:          esproto.ReadStreamEventsCompleted_Error.Enum(),
		NextEventNumber: proto.Int64(-1), LastEventNumber: proto.Int64(-1), LastCommitPosition: proto.Int64(-1),
		IsEndOfStream: proto.Bool(false),
	})
}

// TestAFailureThatMayPassEndsNoSubscription has reads fail for reasons of the server's own, after they have succeeded.
func TestAFailureThatMayPassEndsNoSubscription(t *testing.T) {
	srv, c := embedded(t)
	appendNumbered(t, c, "s", 0, 9)
	s, err := catchUpReady(testContext(t), c, "s", esclient.CatchUpOptions{PageSize: 3})
	require.NoError(t, err)
	defer s.Stop()
	failed := srv.Intercept(esproto.CmdReadStreamEventsForward, failedRead(), estest.Times(3))
	assert.Equal(t, words(0, 9), take(t, s.Next, 10))
	assert.Equal(t, 3, failed.Hits())
	srv.Intercept(esproto.CmdReadStreamEventsForward, failedRead(), estest.Times(1000))
	_, err = catchUpReady(testContext(t), c, "s", esclient.CatchUpOptions{})
	assert.ErrorIs(t, err, esclient.ErrServer, "the first failure is returned")
	s, err = c.SubscribeCatchUp(testContext(t), "s", esclient.CatchUpOptions{})
	require.NoError(t, err)
	_, err = s.Next(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrServer, "also by Next")
}

// TestAVolatileSubscriptionStaysOnAReadOnlyReplica plays a node that refuses requests for the leader, but names no
// other node. So no event is lost.
func TestAVolatileSubscriptionStaysOnAReadOnlyReplica(t *testing.T) {
	s := newScript(t)
	go func() {
		s.next(esproto.CmdSubscribeToStream).reply(esproto.CmdSubscriptionConfirmation, []byte{8, 0})
		s.next(esproto.CmdReadStreamEventsBackward).reply(esproto.CmdNotHandled, []byte{8, 3})
	}()
	v, err := s.client(nil).SubscribeVolatile(testContext(t), "orders", esclient.VolatileOptions{})
	require.NoError(t, err)
	v.Stop()
}
