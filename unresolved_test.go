package eventstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// deadLinks are the data of links that lead to no event, by how that came about. The first two lead to one until
// makeDeadLinks has deleted it.
var deadLinks = []struct{ why, data string }{
	{"soft-deleted", "0@soft"}, {"hard-deleted", "0@hard"}, {"$maxCount", "0@counted"}, {"$maxAge", "0@aged"},
	{"$tb", "0@cut"}, {"never written", "7@target"}, {"no such stream", "0@nowhere"}, {"no number", "nonsense"},
	{"a word for a number", "x@target"}, {"empty", ""}, {"no stream", "5@"}, {"a link", "0@inner"},
}

// countUnresolved counts the calls of an UnresolvedHook.
type countUnresolved struct{ n atomic.Int32 }

func (c *countUnresolved) OnUnresolved(i esclient.SubscriptionInfo) {
	if i.Event.Unresolved {
		c.n.Add(1)
	}
}

// serverWithDeadTargets returns a server, a client of it, and its clock, after the targets of deadLinks are gone.
func serverWithDeadTargets(
	t *testing.T, persona estest.Persona, count *countUnresolved,
) (*estest.Server, *esclient.Client) {
	t.Helper()
	clock := estest.NewClock(time.Time{})
	srv := embedded(t, estest.WithPersona(persona), estest.WithClock(clock))
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	require.NoError(t, err)
	cfg.Hooks = append(cfg.Hooks, count)
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })

	put := func(stream, typ, data string) {
		_, err := srv.Append(stream, estest.Event{Type: typ, JSON: typ == "$metadata", Data: []byte(data)})
		require.NoError(t, err)
	}
	for _, stream := range []string{"soft", "hard", "counted", "aged", "cut", "target"} {
		put(stream, "t", stream)
	}
	put("inner", "$>", "0@target")
	put("$$counted", "$metadata", `{"$maxCount":1}`)
	put("counted", "t", "second")
	put("$$aged", "$metadata", `{"$maxAge":10}`)
	put("$$cut", "$metadata", `{"$tb":1}`)
	put("cut", "t", "second")
	clock.Advance(11 * time.Second)
	ctx := timeout(t)
	_, err = c.DeleteStream(ctx, "soft", esclient.Any)
	require.NoError(t, err)
	_, err = c.TombstoneStream(ctx, "hard", esclient.Any)
	require.NoError(t, err)
	return srv, c
}

// link writes the dead links to a stream, with a link to a live event before each, and returns the payloads of the live
// events. The payloads depend on the round.
func link(t *testing.T, srv *estest.Server, stream string, round int) (live []string) {
	t.Helper()
	for i, dead := range deadLinks {
		payload := fmt.Sprint(round*100 + i)
		number, err := srv.Append("live", estest.Event{Type: "t", Data: []byte(payload)})
		require.NoError(t, err)
		_, err = srv.Append(stream,
			estest.Event{Type: "$>", Data: fmt.Appendf(nil, "%d@live", number)},
			estest.Event{Type: "$>", Data: []byte(dead.data)})
		require.NoError(t, err)
		live = append(live, payload)
	}
	return live
}

var resolvingModes = map[string]eventstore.SubscriberConfig{
	"group":                 {ConsumerGroup: "g"},
	"group, in parallel":    {ConsumerGroup: "g", Concurrency: 4},
	"volatile":              {Mode: eventstore.ModeVolatile},
	"volatile, gaps left":   {Mode: eventstore.ModeVolatile, DisableGapFilling: true},
	"catch-up":              {Mode: eventstore.ModeCatchUp},
	"catch-up, in parallel": {Mode: eventstore.ModeCatchUp, Concurrency: 4},
	"catch-up, small pages": {Mode: eventstore.ModeCatchUp, PageSize: 1},
}

// eachResolvingMode runs a test in each mode on each persona. The test's Subscriber resolves links of the stream
// "links". The last argument of the test are the payloads of the live events that are handed out before new ones.
func eachResolvingMode(
	t *testing.T, action eventstore.UnresolvedAction,
	test func(*testing.T, *estest.Server, <-chan *message.Message, *countUnresolved, []string),
) {
	t.Helper()
	for _, persona := range personas {
		for mode, cfg := range resolvingModes {
			t.Run(fmt.Sprintf("%s/%s", persona, mode), func(t *testing.T) {
				count := new(countUnresolved)
				srv, c := serverWithDeadTargets(t, persona, count)
				history := link(t, srv, "links", 1)
				if cfg.Mode == eventstore.ModeVolatile {
					history = nil
				}
				cfg.Client, cfg.ResolveLinks, cfg.UnresolvedAction = c, true, action
				test(t, srv, subscribe(t, newSubscriber(t, cfg), "links"), count, history)
			})
		}
	}
}

func TestLinksWithoutAnEventAreSkippedByDefault(t *testing.T) {
	eachResolvingMode(t, eventstore.UnresolvedSkip, func(
		t *testing.T, srv *estest.Server, messages <-chan *message.Message, count *countUnresolved, history []string,
	) {
		assert.Equal(t, history, consume(t, messages, len(history)))
		live := link(t, srv, "links", 2)
		assert.Equal(t, live, consume(t, messages, len(live)), "after the skipped ones, in order")
		rounds := 1
		if history != nil {
			rounds = 2
		}
		all := func() bool { return int(count.n.Load()) == rounds*len(deadLinks) }
		require.Eventually(t, all, patience, time.Millisecond, "%d", count.n.Load())
		silence(t, messages)
	})
}

func TestASkippedLinkIsAcked(t *testing.T) {
	for _, persona := range personas {
		srv, c := serverWithDeadTargets(t, persona, new(countUnresolved))
		live := link(t, srv, "links", 1)
		cfg := eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", ResolveLinks: true}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		messages, err := newSubscriber(t, cfg).Subscribe(ctx, "links")
		require.NoError(t, err)
		assert.Equal(t, live, consume(t, messages, len(live)))
		_, err = srv.Append("links", estest.Event{Type: "$>", Data: []byte("0@live")})
		require.NoError(t, err)
		consume(t, messages, 1) // all links before it are dealt with
		cancel()
		closes(t, messages)

		cfg.UnresolvedAction = eventstore.UnresolvedHandOut
		messages = subscribe(t, newSubscriber(t, cfg), "links")
		live = link(t, srv, "links", 2)
		assert.Equal(t, live[:1], consume(t, messages, 1), "nothing comes again")
	}
}

func TestLinksWithoutAnEventAreHandedOutOnRequest(t *testing.T) {
	eachResolvingMode(t, eventstore.UnresolvedHandOut, func(
		t *testing.T, srv *estest.Server, messages <-chan *message.Message, _ *countUnresolved, history []string,
	) {
		want := slices.Concat(history, link(t, srv, "links", 2))
		var live []string
		dead := make(map[string]int)
		for range 2 * len(want) {
			msg := receive(t, messages)
			if eventstore.UnresolvedFromCtx(msg.Context()) {
				e, _ := eventstore.EventFromCtx(msg.Context())
				assert.Equal(t, "$>", e.Type)
				dead[string(e.Original().Data)]++
			} else {
				live = append(live, string(msg.Payload))
			}
			msg.Ack()
		}
		assert.Equal(t, want, live)
		for _, link := range deadLinks {
			assert.Equal(t, len(want)/len(deadLinks), dead[link.data], link.why)
		}
	})
}

func TestALinkWithoutAnEventStopsTheSubscriptionOnRequest(t *testing.T) {
	eachResolvingMode(t, eventstore.UnresolvedStop, func(
		t *testing.T, srv *estest.Server, messages <-chan *message.Message, _ *countUnresolved, history []string,
	) {
		live := history
		if live == nil {
			live = link(t, srv, "links", 2)
		}
		var handedOut []string
		for msg := range messages {
			handedOut = append(handedOut, string(msg.Payload))
			msg.Ack()
		}
		assert.LessOrEqual(t, len(handedOut), 1)
		assert.Subset(t, live[:1], handedOut)
	})
}

// TestLinksWithoutAnEventInAll resolves the links of $all, among all other events.
func TestLinksWithoutAnEventInAll(t *testing.T) {
	for _, persona := range personas {
		for mode, cfg := range resolvingModes {
			if cfg.ConsumerGroup != "" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", persona, mode), func(t *testing.T) {
				srv, c := serverWithDeadTargets(t, persona, new(countUnresolved))
				cfg.Client, cfg.ResolveLinks = c, true
				messages := subscribe(t, newSubscriber(t, cfg), "$all")
				live := link(t, srv, "links", 1)
				var linked []string
				for len(linked) < len(live) {
					msg := receive(t, messages)
					e, _ := eventstore.EventFromCtx(msg.Context())
					assert.NotEqual(t, "$>", e.Type)
					if e.Link != nil && e.Link.Stream == "links" {
						linked = append(linked, string(msg.Payload))
					}
					msg.Ack()
				}
				assert.Equal(t, live, linked)
			})
		}
	}
}

// TestADeletedStreamStopsNoHandlerOfItsCategory deletes two streams of a category, one soft and one hard, before a
// handler reads the category. Like a CQRS processor, the handler fails on unknown types.
func TestADeletedStreamStopsNoHandlerOfItsCategory(t *testing.T) {
	for _, persona := range personas {
		for mode, cfg := range map[string]eventstore.SubscriberConfig{
			"group": {ConsumerGroup: "g"}, "catch-up": {Mode: eventstore.ModeCatchUp},
		} {
			t.Run(fmt.Sprintf("%s/%s", persona, mode), func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(persona), estest.WithProjections())
				c := openClient(t, srv.ConnectionString())
				pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
				place := func(order int) {
					msg := newMessage(fmt.Sprint(order))
					msg.Metadata.Set("name", "OrderPlaced")
					require.NoError(t, pub.Publish(fmt.Sprintf("order-%d", order), msg))
				}
				for order := range 4 {
					place(order)
				}
				require.NoError(t, srv.WaitForProjections(t.Context()))
				_, err := c.DeleteStream(timeout(t), "order-0", esclient.Any)
				require.NoError(t, err)
				_, err = c.TombstoneStream(timeout(t), "order-2", esclient.Any)
				require.NoError(t, err)

				cfg.Client, cfg.ResolveLinks = c, true
				router, err := message.NewRouter(message.RouterConfig{}, nil)
				require.NoError(t, err)
				handled := make(chan string, 10)
				sub := newSubscriber(t, cfg)
				router.AddConsumerHandler("orders", "$ce-order", sub, func(msg *message.Message) error {
					if name := msg.Metadata.Get("name"); name != "OrderPlaced" {
						return fmt.Errorf("unknown event %q", name)
					}
					handled <- string(msg.Payload)
					return nil
				})
				done := make(chan error, 1)
				go func() { done <- router.Run(context.Background()) }()
				<-router.Running()
				place(4)
				var orders []string
				for range 3 {
					select {
					case order := <-handled:
						orders = append(orders, order)
					case <-time.After(patience):
						require.FailNow(t, "the handler does not get on", "handled so far: %v", orders)
					}
				}
				assert.Equal(t, []string{"1", "3", "4"}, orders)
				assert.NoError(t, router.Close())
				assert.NoError(t, <-done)
			})
		}
	}
}

// TestALinkWithoutAnEventHasTheKeyOfItsStream nacks the message before a dead link: the link waits for it only if both
// are of one stream.
func TestALinkWithoutAnEventHasTheKeyOfItsStream(t *testing.T) {
	srv := embedded(t)
	for _, stream := range []string{"a", "b"} {
		_, err := srv.Append(stream, estest.Event{Type: "t", Data: []byte("first of " + stream)})
		require.NoError(t, err)
	}
	for _, link := range []string{"0@a", "7@a", "0@b", "7@b"} {
		_, err := srv.Append("links", estest.Event{Type: "$>", Data: []byte(link)})
		require.NoError(t, err)
	}
	for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {Mode: eventstore.ModeCatchUp}} {
		cfg.ConnectionString, cfg.ResolveLinks, cfg.Concurrency = srv.ConnectionString(), true, 4
		cfg.UnresolvedAction = eventstore.UnresolvedHandOut
		messages := subscribe(t, newSubscriber(t, cfg), "links")
		var held *message.Message
		var got []string
		for len(got) < 3 {
			msg := receive(t, messages)
			if string(msg.Payload) == "first of a" {
				held = msg
				continue
			}
			got = append(got, string(msg.Payload))
			if len(got) == 2 {
				require.Equal(t, []string{"first of b", "7@b"}, got)
				if held == nil {
					held = receive(t, messages)
				}
				held.Ack()
			}
			msg.Ack()
		}
		assert.Equal(t, "7@a", got[2])
	}
}

// TestAGroupThatResolvesNoLinksHandsThemOut has a group that was made without ResolveLinks: its links lead to events,
// and none may be skipped.
func TestAGroupThatResolvesNoLinksHandsThemOut(t *testing.T) {
	for _, persona := range personas {
		srv, c := serverWithDeadTargets(t, persona, new(countUnresolved))
		settings := eventstore.DefaultGroupSettings()
		require.NoError(t, c.CreatePersistent(timeout(t), "links", "g", settings))
		link(t, srv, "links", 1)
		plain := openClient(t, srv.ConnectionString())
		messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
			Client: plain, ConsumerGroup: "g", ResolveLinks: true,
		}), "links")
		for n := range deadLinks {
			assert.Equal(t, []string{fmt.Sprintf("%d@live", n), deadLinks[n].data}, consume(t, messages, 2))
		}
	}
}

func TestUnresolvedFromCtxOfAnotherContext(t *testing.T) {
	assert.False(t, eventstore.UnresolvedFromCtx(t.Context()))
	for action, name := range map[eventstore.UnresolvedAction]string{
		eventstore.UnresolvedSkip: "skip", eventstore.UnresolvedHandOut: "hand out", eventstore.UnresolvedStop: "stop",
		7: "UnresolvedAction(7)",
	} {
		assert.Equal(t, name, action.String())
	}
	_, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: "tcp://localhost:1113", UnresolvedAction: 3,
	}, nil)
	assert.ErrorContains(t, err, "UnresolvedAction")
}

// TestALinkThatTheUserMayNotFollow has a user who may read the links, but only every second target. Servers resolve
// such a link in pushes and in groups; up to 5.0 they refuse a page with it.
func TestALinkThatTheUserMayNotFollow(t *testing.T) {
	for _, persona := range personas {
		for mode, cfg := range resolvingModes {
			for _, topic := range []string{"links", "$all"} {
				if topic == "$all" && cfg.ConsumerGroup != "" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", persona, mode, topic), func(t *testing.T) {
					srv := embedded(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
					put := func(stream string, json bool, data string) {
						e := estest.Event{Type: "t", JSON: json, Data: []byte(data)}
						switch {
						case json:
							e.Type = "$metadata"
						case stream == "links":
							e.Type = "$>"
						}
						_, err := srv.Append(stream, e)
						require.NoError(t, err)
					}
					put("$$secret", true, `{"$acl":{"$r":"$admins"}}`)
					put("$$$all", true, `{"$acl":{"$r":"plain"}}`)
					write := func(from, to int) {
						for n := from; n <= to; n++ {
							stream := "open"
							if n%2 == 1 {
								stream = "secret"
							}
							put(stream, false, fmt.Sprint(n))
							put("links", false, fmt.Sprintf("%d@%s", n/2, stream))
						}
					}
					if cfg.Mode != eventstore.ModeVolatile {
						write(0, 100)
					}
					if cfg.ConsumerGroup != "" {
						settings := eventstore.DefaultGroupSettings()
						settings.ResolveLinks = true
						admin := openClient(t, srv.ConnectionString())
						require.NoError(t, admin.CreatePersistent(timeout(t), "links", "g", settings))
						cfg.DisableGroupCreation = true
					}
					cfg.ConnectionString, cfg.ResolveLinks = "tcp://plain:changeit@"+srv.Addr(), true
					messages := subscribe(t, newSubscriber(t, cfg), topic)
					if cfg.Mode == eventstore.ModeVolatile {
						write(0, 100)
					}
					read := cfg.Mode == eventstore.ModeCatchUp && persona != estest.Persona2310
					var want, got []string
					for n := range 101 {
						if !read || n%2 == 0 {
							want = append(want, fmt.Sprint(n))
						}
					}
					for len(got) < len(want) {
						msg := receive(t, messages)
						if link, ok := eventstore.LinkFromCtx(msg.Context()); ok {
							assert.Equal(t, "links", link.Stream)
							got = append(got, string(msg.Payload))
						}
						msg.Ack()
					}
					if read || cfg.Concurrency <= 1 {
						assert.Equal(t, want, got, "in order")
					} else { // the two streams are handled in parallel
						assert.ElementsMatch(t, want, got)
					}
				})
			}
		}
	}
}

// TestAUserWhoMayNotReadTheLinks gets the error, although the server does not resolve the links then.
func TestAUserWhoMayNotReadTheLinks(t *testing.T) {
	for _, persona := range personas {
		srv := embedded(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
		_, err := srv.Append("$$links",
			estest.Event{Type: "$metadata", JSON: true, Data: []byte(`{"$acl":{"$r":"$admins"}}`)})
		require.NoError(t, err)
		link(t, srv, "links", 1)
		url := "tcp://plain:changeit@" + srv.Addr()
		for _, topic := range []string{"links", "$all"} {
			_, err = newSubscriber(t, eventstore.SubscriberConfig{
				ConnectionString: url, Mode: eventstore.ModeCatchUp, ResolveLinks: true,
			}).Subscribe(timeout(t), topic)
			assert.ErrorIs(t, err, esclient.ErrAccessDenied, topic)
		}
	}
}
