package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// told is the result of one message. There may be several if it was published again.
type told struct{ written, unknown, notWritten bool }

// writer publishes its own messages, each with a unique payload, and records the results.
type writer struct {
	w      *world
	name   string
	client *esclient.Client
	pub    *eventstore.Publisher
	// forgets: it publishes a message with an unknown outcome again, so the message is there twice if the server has
	// forgotten its id.
	forgets bool
	exact   bool // the expected version settles unknown outcomes

	ctx    context.Context // ends the writer
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	told    map[string]*told
	batches [][]string // the payloads of each append of several
	n       int
}

const (
	publishTimeout = 2 * time.Second
	writerPace     = 4 * time.Millisecond
)

func (w *world) newWriter(name string, s setting, cfg eventstore.PublisherConfig) *writer {
	p := &writer{w: w, name: name, client: w.client(s), told: make(map[string]*told)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	cfg.Client, cfg.PublishTimeout = p.client, publishTimeout
	var err error
	p.pub, err = eventstore.NewPublisher(cfg, nil)
	require.NoError(w.t, err)
	w.writers = append(w.writers, p)
	return p
}

// repeat runs the writer until it is stopped.
func (p *writer) repeat(step func()) {
	p.wg.Go(func() {
		for p.ctx.Err() == nil {
			step()
			select {
			case <-time.After(writerPace):
			case <-p.ctx.Done():
			}
		}
	})
}

func (p *writer) stop() {
	p.cancel()
	p.wg.Wait()
}

func (p *writer) close() {
	p.stop()
	require.NoError(p.w.t, p.pub.Close())
}

// next makes a message.
func (p *writer) next() *message.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	payload := fmt.Sprintf("%s %d", p.name, p.n)
	p.told[payload] = new(told)
	return message.NewMessage(watermill.NewUUID(), message.Payload(payload))
}

// note records the outcome of messages.
func (p *writer) note(messages []*message.Message, what func(*told)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range messages {
		what(p.told[string(m.Payload)])
	}
}

func written(t *told)    { t.written = true }
func unknown(t *told)    { t.unknown = true }
func notWritten(t *told) { t.notWritten = true }

// publish makes a Publish call and records the result.
func (p *writer) publish(topic string, messages ...*message.Message) error {
	started := time.Now()
	err := p.pub.Publish(topic, messages...)
	took := time.Since(started)
	if err == nil {
		p.note(messages, written)
		return nil
	}
	var e *eventstore.PublishError
	if !errors.As(err, &e) {
		p.w.report.breach(refused, "%s: %v", p.name, err)
		return err
	}
	if !listed(messages, e.Written, e.Unknown, e.NotWritten) {
		p.w.report.breach(unlisted, "%s: %d, %d and %d of %d: %v", p.name, len(e.Written), len(e.Unknown),
			len(e.NotWritten), len(messages), err)
	}
	p.note(e.Written, written)
	p.note(e.Unknown, unknown)
	p.note(e.NotWritten, notWritten)
	p.w.report.count("Publish calls that failed", 1)
	if len(e.Unknown) > 0 {
		p.w.report.count("Publish calls whose outcome was unknown", 1)
	}
	p.judgeFailure(err, took)
	return err
}

// listed reports whether each message is in exactly one of the lists, in the order of the call.
func listed(messages []*message.Message, lists ...[]*message.Message) bool {
	for _, m := range messages {
		i := slices.IndexFunc(lists, func(l []*message.Message) bool { return len(l) > 0 && l[0] == m })
		if i < 0 {
			return false
		}
		lists[i] = lists[i][1:]
	}
	return len(slices.Concat(lists...)) == 0
}

// judgeFailure reports an error that faults do not explain, and one that came too early: before its time a call ends
// only with a decision of the server, or with an unknown outcome that cannot be resolved. An exact version always
// resolves it.
func (p *writer) judgeFailure(err error, took time.Duration) {
	final := errors.Is(err, esclient.ErrWrongExpectedVersion) || !p.exact && errors.Is(err, esclient.ErrOutcomeUnknown)
	if took < publishTimeout && !final || !expectedFailure(err) {
		p.w.report.breach(refused, "%s after %v: %v", p.name, took, err)
	}
}

// expectedFailure reports whether faults explain an error.
func expectedFailure(err error) bool {
	return errors.Is(err, esclient.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || errors.Is(err, esclient.ErrWrongExpectedVersion) ||
		errors.Is(err, esclient.ErrNotAuthenticated) || esclient.SafeToRetry(err)
}

func (w *world) startWriters(s setting) {
	plain := w.newWriter("any", s, eventstore.PublisherConfig{})
	plain.repeat(func() { _ = plain.publish("orders", plain.next()) })

	repub := w.newWriter("repub", s, eventstore.PublisherConfig{RepublishUnknown: true})
	repub.forgets = true
	repub.repeat(func() { _ = repub.publish("orders", repub.next()) })

	w.startExact(s)
	w.startSolo(s)
	w.startBatches(s)
	w.startByUUID(s)
	w.startSource(s)
}

// startExact publishes to its own stream with the exact version each time.
func (w *world) startExact(s setting) {
	p := w.newWriter("exact", s, eventstore.PublisherConfig{})
	p.exact = true
	next, known := esclient.NoStream, true
	p.repeat(func() {
		if !known {
			if next, known = p.version("ledger"); !known {
				return
			}
		}
		m := p.next()
		m.SetContext(eventstore.WithExpectedVersion(m.Context(), next))
		err := p.publish("ledger", m)
		if err == nil {
			next++
		}
		known = err == nil
	})
}

// version reads the version of a stream.
func (p *writer) version(stream string) (esclient.ExpectedVersion, bool) {
	ctx, cancel := context.WithTimeout(p.ctx, publishTimeout)
	defer cancel()
	page, err := p.client.ReadStreamPage(ctx, stream, esclient.ReadOptions{Backward: true, PageSize: 1})
	switch {
	case errors.Is(err, esclient.ErrStreamNotFound):
		return esclient.NoStream, true
	case err != nil || len(page.Events) == 0:
		return 0, false
	}
	return esclient.ExpectedVersion(page.Events[0].Number), true
}

func soloStream(payload string) string { return strings.ReplaceAll(payload, " ", "-") }

// startSolo creates a stream for each message.
func (w *world) startSolo(s setting) {
	p := w.newWriter("solo", s, eventstore.PublisherConfig{
		ExpectedVersion: esclient.NoStream,
		StreamName: func(topic string, m *message.Message) (string, error) {
			return soloStream(string(m.Payload)), nil
		},
	})
	p.exact = true
	p.repeat(func() { _ = p.publish("solo", p.next()) })
}

// startBatches publishes several messages at a time, to two streams.
func (w *world) startBatches(s setting) {
	p := w.newWriter("batch", s, eventstore.PublisherConfig{
		StreamName: func(topic string, m *message.Message) (string, error) {
			return m.Metadata.Get("stream"), nil
		},
	})
	p.repeat(func() {
		var all []*message.Message
		for _, stream := range []string{"orders", "visits"} {
			var payloads []string
			for range 3 {
				m := p.next()
				m.Metadata.Set("stream", stream)
				all = append(all, m)
				payloads = append(payloads, string(m.Payload))
			}
			p.batches = append(p.batches, payloads)
		}
		_ = p.publish("batch", all...)
	})
}

// startByUUID publishes each message, with the id of its UUID, until it is written.
func (w *world) startByUUID(s setting) {
	p := w.newWriter("uuid", s, eventstore.PublisherConfig{UseMessageUUIDAsEventID: true})
	p.forgets = true
	topic := "visits"
	if s.plain {
		topic = "orders" // one stream has no message twice, so its group has no excuse
	}
	p.repeat(func() {
		m := p.next()
		for p.ctx.Err() == nil && p.publish(topic, m) != nil {
			p.w.report.count("messages published again by the caller", 1)
		}
	})
}

// startSource appends from a source, and goes on after an error.
func (w *world) startSource(s setting) {
	p := w.newWriter("source", s, eventstore.PublisherConfig{})
	p.exact = true
	next, known := esclient.NoStream, true
	p.repeat(func() {
		if !known {
			if next, known = p.version("import"); !known {
				return
			}
		}
		var sent []*message.Message
		source := func(yield func(esclient.EventData, error) bool) {
			for range 20 {
				m := p.next()
				sent = append(sent, m)
				if !yield(esclient.EventData{Type: "t", Data: m.Payload}, nil) {
					return
				}
			}
		}
		started := time.Now()
		ctx, cancel := context.WithTimeout(p.ctx, publishTimeout)
		defer cancel()
		res, err := p.client.AppendFrom(ctx, "import", next, source, esclient.AppendFromOptions{BatchEvents: 5})
		p.note(sent[:res.Events], written)
		p.note(sent[res.Events:res.Events+res.Unknown], unknown)
		p.note(sent[res.Events+res.Unknown:], notWritten)
		switch {
		case err == nil && res.Events != int64(len(sent)):
			p.w.report.breach(unlisted, "%s: %d of %d, without an error", p.name, res.Events, len(sent))
		case err != nil && p.ctx.Err() == nil:
			p.judgeFailure(err, time.Since(started))
		}
		if known = err == nil; known {
			next = esclient.ExpectedVersion(res.LastEventNumber)
		}
	})
}

// judge compares the writer's results with the log.
func (p *writer) judge(places map[string][]place, resets int64) {
	r := p.w.report
	r.count("messages published", len(p.told))
	wrote := func(t *told) bool { return t.written }
	if !slices.ContainsFunc(slices.Collect(maps.Values(p.told)), wrote) {
		r.breach(idle, "%s wrote nothing", p.name)
	}
	for payload, t := range p.told {
		n := len(places[payload])
		switch {
		case t.written && n == 0:
			r.breach(lost, "%q", payload)
		case t.notWritten && !t.unknown && !t.written && n > 0:
			r.breach(phantom, "%q", payload)
		case n > 1 && (!p.forgets || resets == 0):
			r.breach(doubled, "%q is at %v", payload, places[payload])
		case n > 1:
			r.count("messages written twice after an unknown outcome", 1)
		}
	}
	for _, batch := range p.batches {
		p.judgeBatch(batch, places)
	}
}

// place is the place of an event.
type place struct {
	stream string
	number int64
}

// judgeBatch checks that the messages of one append are either all there, one after the other, or none of them.
func (p *writer) judgeBatch(batch []string, places map[string][]place) {
	first := places[batch[0]]
	for i, payload := range batch {
		there := places[payload]
		if len(there) != len(first) {
			p.w.report.breach(torn, "%q is there %d times, %q %d times", batch[0], len(first), payload, len(there))
			return
		}
		for j, at := range there {
			if at.stream != first[j].stream || at.number != first[j].number+int64(i) {
				p.w.report.breach(torn, "%q is at %v, %q at %v", batch[0], first[j], payload, at)
				return
			}
		}
	}
}
