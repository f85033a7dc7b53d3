package esclient_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// joins is a way to subscribe that begins with one request, and how a script confirms that.
type joins struct {
	request      esproto.Command
	confirmation esproto.Command
	payload      []byte
	push         esproto.Command
	subscribe    func(ctx context.Context, c *esclient.Client) (
		next func(context.Context) (*esclient.Event, error), err error)
}

func waysToJoin(t *testing.T) map[string]joins {
	joined, err := proto.Marshal(&esproto.PersistentSubscriptionConfirmation{SubscriptionId: proto.String("orders::g")})
	require.NoError(t, err)
	volatile := func(stream string, opts esclient.VolatileOptions) func(context.Context, *esclient.Client) (
		func(context.Context) (*esclient.Event, error), error,
	) {
		return func(ctx context.Context, c *esclient.Client) (func(context.Context) (*esclient.Event, error), error) {
			s, err := c.SubscribeVolatile(ctx, stream, opts)
			if err != nil {
				return nil, err
			}
			t.Cleanup(s.Stop)
			return s.Next, nil
		}
	}
	return map[string]joins{
		"persistent": {
			esproto.CmdConnectToPersistentSubscription, esproto.CmdPersistentSubscriptionConfirmation, joined,
			esproto.CmdPersistentSubscriptionStreamEventAppeared,
			func(ctx context.Context, c *esclient.Client) (func(context.Context) (*esclient.Event, error), error) {
				p, err := c.ConnectPersistent(ctx, "orders", "g", esclient.PersistentOptions{})
				if err != nil {
					return nil, err
				}
				return p.Next, nil
			},
		},
		"volatile": {
			esproto.CmdSubscribeToStream, esproto.CmdSubscriptionConfirmation, []byte{8, 0},
			esproto.CmdStreamEventAppeared, volatile("orders", esclient.VolatileOptions{}),
		},
		"filtered": {
			esproto.CmdFilteredSubscribeToStream, esproto.CmdSubscriptionConfirmation, []byte{8, 0},
			esproto.CmdStreamEventAppeared, volatile(esclient.AllStream, esclient.VolatileOptions{
				Filter: &esclient.Filter{StreamPrefixes: []string{"orders"}},
			}),
		},
	}
}

// event is the event that the script pushes.
func (j *joins) event(data string) []byte {
	id := esproto.NewGUID(uuid.New())
	record := esproto.RecordView{StreamID: "orders", EventNumber: 1, EventID: id[:], EventType: "t", Data: []byte(data)}
	event := record.Append(nil, esproto.Explicit)
	if j.push == esproto.CmdStreamEventAppeared {
		return esproto.AppendStreamEventAppeared(nil, event, nil, 1, 1, esproto.Explicit)
	}
	return esproto.AppendPersistentEvent(nil, event, nil, 0, esproto.Explicit)
}

// besideReads is next that leaves reads aside: their answer is that there is nothing.
func (s *script) besideReads(cmd esproto.Command) *request {
	s.t.Helper()
	for {
		q := s.any()
		switch q.cmd {
		case esproto.CmdReadStreamEventsBackward, esproto.CmdReadStreamEventsForward:
			q.reply(q.cmd+1, noStream)
		case esproto.CmdReadAllEventsBackward, esproto.CmdReadAllEventsForward:
			q.reply(q.cmd+1, []byte{8, 0, 16, 0, 32, 0, 40, 0})
		default:
			require.Equal(s.t, cmd, q.cmd)
			return q
		}
	}
}

func (s *script) any() *request {
	s.t.Helper()
	select {
	case q := <-s.requests:
		return q
	case <-time.After(10 * time.Second):
		require.FailNow(s.t, "the client sent nothing")
		return nil
	}
}

func TestALateConfirmationIsUnsubscribed(t *testing.T) {
	for what, j := range waysToJoin(t) {
		t.Run(what, func(t *testing.T) {
			s := newScript(t)
			c := s.client(nil)
			ctx, giveUp := context.WithCancel(testContext(t))
			failed := make(chan error, 1)
			go func() {
				_, err := j.subscribe(ctx, c)
				failed <- err
			}()
			q := s.next(j.request)
			giveUp()
			require.ErrorIs(t, <-failed, context.Canceled)
			assert.Equal(t, q.id, s.next(esproto.CmdUnsubscribeFromStream).id, "it may be in time")
			q.reply(j.confirmation, j.payload)
			assert.Equal(t, q.id, s.next(esproto.CmdUnsubscribeFromStream).id, "it was not")
			for range 100 { // which are on their way
				q.reply(j.push, j.event(""))
			}
			q.reply(esproto.CmdSubscriptionDropped, nil)
			go func() { s.next(esproto.CmdPing).reply(esproto.CmdPong, nil) }()
			_, err := c.Ping(testContext(t))
			require.NoError(t, err, "nothing more was sent")
		})
	}
}

func TestALateConfirmationCounts(t *testing.T) {
	t.Parallel()
	for what, j := range waysToJoin(t) {
		t.Run(what, func(t *testing.T) {
			s := newScript(t)
			c := s.client(func(cfg *esclient.Config) { cfg.OperationTimeout = 100 * time.Millisecond })
			type result struct {
				next func(context.Context) (*esclient.Event, error)
				err  error
			}
			done := make(chan result, 1)
			go func() {
				next, err := j.subscribe(testContext(t), c)
				done <- result{next, err}
			}()
			first := s.next(j.request)
			second := s.next(j.request)
			assert.NotEqual(t, first.id, second.id)
			first.reply(j.confirmation, j.payload)
			assert.Equal(t, second.id, s.besideReads(esproto.CmdUnsubscribeFromStream).id, "one is enough")
			second.reply(j.confirmation, j.payload)
			assert.Equal(t, second.id, s.besideReads(esproto.CmdUnsubscribeFromStream).id, "it was not in time")
			stop := make(chan struct{})
			t.Cleanup(func() { close(stop) })
			go func() {
				for {
					select {
					case q := <-s.requests:
						q.reply(q.cmd+1, noStream)
					case <-stop:
						return
					}
				}
			}()
			r := <-done
			require.NoError(t, r.err)
			second.reply(j.push, j.event("a ghost's"))
			first.reply(j.push, j.event("good"))
			e, err := r.next(testContext(t))
			require.NoError(t, err)
			assert.Equal(t, "good", string(e.Data))
		})
	}
}

// plainUser returns a server that takes its time for the rights of a user, and a client of that one.
func plainUser(
	t *testing.T, version estest.Persona, change func(*esclient.Config),
) (srv *estest.Server, admin, plain *esclient.Client) {
	t.Helper()
	srv, admin = embeddedAsAdmin(t, estest.WithPersona(version), estest.WithUser("plain", "secret"),
		estest.WithAsyncRights(40*time.Millisecond))
	return srv, admin, openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.Credentials = &esclient.Credentials{Login: "plain", Password: "secret"}
		change(cfg)
	})
}

var allPersonas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

func TestNoSubscriberOfAPlainUserStaysBehind(t *testing.T) {
	t.Parallel()
	for _, version := range allPersonas {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			srv, admin, c := plainUser(t, version, func(*esclient.Config) {})
			ctx := testContext(t)
			require.NoError(t, admin.CreatePersistent(ctx, "s", "g", fromStart()))
			require.NoError(t, c.Connect(ctx))
			connections := srv.Stats().ConnectionsTotal
			for i := range 10 {
				short, cancel := context.WithTimeout(ctx, time.Duration(i)*5*time.Millisecond)
				if p, err := c.ConnectPersistent(short, "s", "g", esclient.PersistentOptions{}); err == nil {
					require.NoError(t, p.Stop(ctx))
				}
				if v, err := c.SubscribeVolatile(short, "s", esclient.VolatileOptions{FillGaps: i%2 == 0}); err == nil {
					v.Stop()
				}
				if s, err := c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{}); err == nil {
					_, _ = s.Next(short)
					s.Stop()
				}
				if s, err := c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{}); err == nil {
					_, _ = s.Next(short)
					s.Drain()
				}
				cancel()
			}
			time.Sleep(80 * time.Millisecond) // the server has looked up all rights, so all are confirmed
			eventually(t, func() bool {
				stats := srv.Stats()
				return stats.Subscriptions == 0 && stats.Groups[0].Clients == 0
			})
			assert.Equal(t, connections, srv.Stats().ConnectionsTotal, "nothing was cut for it")

			p := subscribe(t, c, "s", "g", esclient.PersistentOptions{})
			appendNumbered(t, admin, "s", 0, 19)
			assert.Equal(t, words(0, 19), consume(t, p, 20), "all are with the one that there is")
		})
	}
}

func TestASlowConfirmationMakesOneSubscriber(t *testing.T) {
	t.Parallel()
	for _, version := range allPersonas {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			srv, admin, c := plainUser(t, version, func(cfg *esclient.Config) {
				cfg.OperationTimeout, cfg.MaxRetries = 30*time.Millisecond, 1000
			})
			ctx := testContext(t)
			only := fromStart()
			only.MaxSubscriberCount = 1
			require.NoError(t, admin.CreatePersistent(ctx, "s", "g", only))
			for range 10 {
				p, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{})
				require.NoError(t, err)
				eventually(t, func() bool { return srv.Stats().Groups[0].Clients == 1 })
				require.NoError(t, p.Stop(ctx))
				// A later attempt may join when its rights are looked up, and take the only place for a moment.
				time.Sleep(80 * time.Millisecond)
				eventually(t, func() bool { return srv.Stats().Groups[0].Clients == 0 })
			}
		})
	}
}
