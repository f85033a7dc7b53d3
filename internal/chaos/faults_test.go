package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// fault is one kind of disturbance. It returns after the worst part; the rest heals by itself.
type fault struct {
	name   string
	weight int
	do     func(w *world)
}

// networkFaults disturb the link of one client.
var networkFaults = []fault{
	{"cut", 8, func(w *world) { w.someLink().cut() }},
	{"cut at a byte", 12, func(w *world) {
		w.someLink().cutAfter.Store(1 + w.faults.Int64N(4000))
		w.pause(5, 30)
	}},
	{"stalled link", 4, func(w *world) {
		l := w.someLink()
		l.stalled.Store(true)
		w.pause(20, 350) // heartbeats find the longer ones
		l.stalled.Store(false)
	}},
	{"slow link", 4, func(w *world) {
		l := w.someLink()
		l.rate.Store(20<<10 + w.faults.Int64N(100<<10))
		w.pause(50, 200)
		l.rate.Store(0)
	}},
	{"stranger", 4, func(w *world) {
		l := w.someLink()
		l.stranger.Store(&strangers[w.faults.IntN(len(strangers))])
		l.cut()
		w.pause(5, 80)
		l.stranger.Store(nil)
	}},
}

// strangers are peers that answer instead of the server.
var strangers = []string{
	"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x46",
	"SSH-2.0-OpenSSH_9.6\r\n", "",
}

// serverFaults disturb the server that most clients use.
var serverFaults = []fault{
	{"connections dropped", 4, func(w *world) { w.server().DropConnections() }},
	{"server cuts what it receives", 4, func(w *world) { w.server().CutAfterReceived(1 + w.faults.Int64N(3000)) }},
	{"server cuts what it sends", 4, func(w *world) { w.server().CutAfterSent(1 + w.faults.Int64N(3000)) }},
	{"server hangs", 3, func(w *world) {
		srv := w.server()
		if w.cluster != nil {
			w.reset() // the others elect a leader
		}
		srv.Pause()
		w.pause(20, 300)
		srv.Resume()
	}},
	{"requests lost", 6, func(w *world) { w.intercept(estest.AnyOperation, answered(estest.Drop()), 3) }},
	{"replies lost", 8, func(w *world) {
		w.intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Drop()), 2)
	}},
	{"replies lost with the connection", 8, func(w *world) {
		w.intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), 2)
	}},
	{"acks lost with the connection", 6, func(w *world) {
		w.intercept(esproto.CmdPersistentSubscriptionAckEvents, estest.Disconnect(), 1)
	}},
	{"acks served, the connection lost", 4, func(w *world) {
		w.intercept(esproto.CmdPersistentSubscriptionAckEvents, estest.Unanswered(estest.Disconnect()), 1)
	}},
	{"not ready", 4, func(w *world) {
		w.intercept(estest.AnyOperation, answered(estest.NotReady()), 1+w.faults.IntN(40))
	}},
	{"too busy", 3, func(w *world) {
		w.intercept(estest.AnyOperation, answered(estest.TooBusy()), 1+w.faults.IntN(20))
	}},
	{"heartbeats withheld", 2, func(w *world) {
		rule := w.server().Intercept(esproto.CmdHeartbeatRequest, estest.Drop())
		w.pause(50, 400)
		rule.Remove()
	}},
}

// groupFaults are actions of operators and users.
var groupFaults = []fault{
	{"group created again", 2, func(w *world) { w.groups[w.faults.IntN(len(w.groups))].recreate(func() {}) }},
	{"group created again while its links are down", 2, func(w *world) {
		for _, l := range w.links {
			l.stranger.Store(&strangers[3])
			l.cut()
		}
		w.groups[w.faults.IntN(len(w.groups))].recreate(func() {
			for _, l := range w.links {
				l.stranger.Store(nil)
			}
		})
	}},
	{"group updated", 2, func(w *world) {
		g := w.groups[w.faults.IntN(len(w.groups))]
		ctx, cancel := within(time.Second)
		defer cancel()
		g.disturb()
		_ = w.operator.UpdatePersistent(ctx, g.stream, g.name, g.settings()) // if faults allow it
	}},
	{"parked messages replayed", 5, func(w *world) {
		ctx, cancel := within(time.Second)
		defer cancel()
		for _, g := range w.groups {
			g.noteParked()
			_ = w.manager.ReplayParked(ctx, g.stream, g.name, 0) // if faults allow it
		}
	}},
	{"stream tombstoned", 2, (*world).tombstone},
	{"subscriber given up", 8, (*world).giveUp},
}

// modelFaults are the ends of processes, and a store that is full.
var modelFaults = []fault{
	{"read model closed", 4, func(w *world) { w.someModel().disturb(closed) }},
	{"read model crashed", 8, func(w *world) { w.someModel().disturb(crashed) }},
	{"read model taken over", 3, func(w *world) { w.someModel().disturb(overtaken) }},
	{"checkpoints refused", 3, func(w *world) {
		m := w.someModel()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.refuse = 1 + w.faults.IntN(3)
	}},
}

func (w *world) someModel() *model { return w.models[w.faults.IntN(len(w.models))] }

// nodeFaults are the faults of one server, or of the nodes of a cluster.
func (w *world) nodeFaults() []fault {
	if w.cluster == nil {
		return []fault{
			{"crash", 3, func(w *world) {
				w.reset()
				require.NoError(w.t, w.single.Crash())
			}},
			{"restart", 3, func(w *world) {
				w.reset()
				require.NoError(w.t, w.single.Restart())
			}},
		}
	}
	return []fault{
		{"election", 4, func(w *world) {
			w.reset()
			_ = w.cluster.Elect(w.faults.IntN(w.cluster.Size())) // it may be without a majority
			w.pause(10, 100)
		}},
		{"node killed", 2, func(w *world) { w.outage(w.cluster.Kill) }},
		{"node stopped", 2, func(w *world) { w.outage(w.cluster.Stop) }},
		{"partition", 3, func(w *world) {
			w.reset()
			w.cluster.Partition(w.faults.IntN(w.cluster.Size()))
			w.pause(10, 200)
			w.cluster.Heal()
			w.awaitLeader()
		}},
	}
}

// reset notes that a server is about to forget all that it does not store.
func (w *world) reset() {
	for _, g := range w.groups {
		g.disturb()
	}
	w.resets.Add(1)
	w.lastReset = time.Now()
}

// outage stops a node, and starts it again a moment later.
func (w *world) outage(end func(node int) error) {
	w.reset()
	i := w.faults.IntN(w.cluster.Size())
	require.NoError(w.t, end(i))
	w.pause(10, 150)
	require.NoError(w.t, w.cluster.Restart(i))
	w.awaitLeader()
}

// awaitLeader waits until a cluster has a leader again, so that the next fault meets a server.
func (w *world) awaitLeader() {
	require.Eventually(w.t, func() bool { return w.cluster.Leader() >= 0 }, settleLimit, time.Millisecond)
}

func (w *world) someLink() *link { return w.links[w.faults.IntN(len(w.links))] }

// pause sleeps some milliseconds.
func (w *world) pause(least, most int64) {
	time.Sleep(time.Duration(least+w.faults.Int64N(most-least+1)) * time.Millisecond)
}

// intercept treats some requests differently, for a moment at most.
func (w *world) intercept(cmd esproto.Command, action estest.Action, times int) {
	rule := w.server().Intercept(cmd, action, estest.Times(times))
	w.pause(5, 60)
	rule.Remove()
}

// answered takes an action on requests with a reply. Requests without a reply, such as acks or the end of a
// subscription of a lost connection, get lost with their connection only: TCP loses nothing else, and no client could
// detect it.
func answered(action estest.Action) estest.Action {
	return estest.Choose(func(r estest.Request) estest.Action {
		switch r.Command {
		case esproto.CmdPersistentSubscriptionAckEvents, esproto.CmdPersistentSubscriptionNakEvents,
			esproto.CmdUnsubscribeFromStream:
			return estest.Action{}
		}
		return action
	})
}

// disturb causes n faults, one after the other.
func (w *world) disturb(n int) {
	all := slices.Concat(w.nodeFaults(), networkFaults, serverFaults, groupFaults, modelFaults)
	total := 0
	for _, f := range all {
		total += f.weight
	}
	for range n {
		pick := w.faults.IntN(total)
		for _, f := range all {
			if pick -= f.weight; pick < 0 {
				w.report.fault(f.name)
				f.do(w)
				for _, g := range w.groups {
					g.calm()
				}
				break
			}
		}
		w.pause(0, 25)
	}
}

// heal ends all remaining effects of faults.
func (w *world) heal() {
	for _, l := range w.links {
		l.heal()
	}
	if w.cluster != nil {
		w.cluster.Heal()
		w.awaitLeader()
	}
}

// tombstone deletes a stream with a subscriber for good. The subscriber must end.
func (w *world) tombstone() {
	n := w.faults.IntN(3)
	stream := fmt.Sprintf("doomed-%d", w.faults.Int64())
	cfg := eventstore.SubscriberConfig{Client: w.operator, AckGrace: -1}
	switch n {
	case 0:
		cfg.Mode = eventstore.ModeCatchUp
	case 1:
		cfg.ConsumerGroup = "doomed"
	}
	w.wg.Go(func() {
		log := watermill.NewCaptureLogger()
		sub, err := eventstore.NewSubscriber(cfg, log)
		require.NoError(w.t, err)
		defer sub.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := w.operator.Append(ctx, stream, esclient.Any, esclient.EventData{Type: "t"}); err != nil {
			return
		}
		lasting, end := context.WithCancel(context.Background())
		defer end()
		stopWaiting := context.AfterFunc(ctx, end)
		messages, err := sub.Subscribe(lasting, stream)
		waited := !stopWaiting()
		if err != nil && !waited {
			w.report.breach(refused, "Subscribe to %q, kind %d: %v", stream, n, err)
		}
		if err != nil || waited {
			return
		}
		for {
			ctx, cancel := within(time.Second)
			_, err := w.operator.TombstoneStream(ctx, stream, esclient.Any)
			cancel()
			if err == nil || errors.Is(err, esclient.ErrStreamDeleted) { // a call with an unknown outcome deleted it
				break
			}
		}
		limit := time.After(settleLimit)
		for {
			select {
			case msg, open := <-messages:
				if !open {
					if !saysDeleted(log) {
						w.report.breach(endedEarly, "%q, kind %d, which does not say that its stream is deleted: %v",
							stream, n, log.Captured()[watermill.ErrorLogLevel])
					}
					return
				}
				msg.Ack()
			case <-limit:
				w.report.breach(stuckOpen, "%q, kind %d", stream, n)
				return
			}
		}
	})
}

// saysDeleted reports whether a subscriber has logged that it ends because its stream is deleted.
func saysDeleted(log *watermill.CaptureLoggerAdapter) bool {
	return slices.ContainsFunc(log.Captured()[watermill.ErrorLogLevel], func(m watermill.CapturedMessage) bool {
		return errors.Is(m.Err, esclient.ErrStreamDeleted)
	})
}

// giveUp subscribes for a short time, so the subscription may or may not succeed. It must leave nothing behind.
// Messages that it takes lose their place, so it joins only groups without a promised order.
func (w *world) giveUp() {
	g := w.groups[w.faults.IntN(len(w.groups))]
	for g.order != nil {
		g = w.groups[w.faults.IntN(len(w.groups))]
	}
	c := w.writers[w.faults.IntN(len(w.writers))].client
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.faults.Int64N(20_000))*time.Microsecond)
	defer cancel()
	p, err := c.ConnectPersistent(ctx, g.stream, g.name, esclient.PersistentOptions{})
	if err != nil {
		return
	}
	stopping, done := within(time.Second)
	defer done()
	_ = p.Stop(stopping) // unconfirmed, the server learns it from the connection
}
