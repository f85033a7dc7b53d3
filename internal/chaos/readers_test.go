package chaos

import (
	"context"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// reader is a subscriber that gets all messages: fan-out, or a catch-up of a stream or of all streams.
type reader struct {
	w    *world
	name string
	gaps bool // messages without a connection are not promised
	all  bool

	sub *eventstore.Subscriber
	wg  sync.WaitGroup

	mu      sync.Mutex
	closing bool
	last    map[string]int64 // the number of the latest event of each stream
}

func (w *world) newReader(name, topic string, s setting, gaps bool, cfg eventstore.SubscriberConfig) {
	r := &reader{w: w, name: name, gaps: gaps, all: topic == esclient.AllStream, last: make(map[string]int64)}
	w.readers = append(w.readers, r)
	cfg.Client = w.client(s)
	var err error
	r.sub, err = eventstore.NewSubscriber(cfg, nil)
	require.NoError(w.t, err)
	messages, err := r.sub.Subscribe(context.Background(), topic)
	require.NoError(w.t, err)
	r.wg.Go(func() {
		for msg := range messages {
			e, _ := eventstore.EventFromCtx(msg.Context())
			r.note(e.Stream, e.Number)
			msg.Ack()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closing {
			w.report.breach(endedEarly, "%s", name)
		}
	})
}

// note notes an event. It must be the one after the previous one.
func (r *reader) note(stream string, number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.report.count("messages read by fan-out and catch-up", 1)
	if !slices.Contains(streams, stream) {
		return // the server's own streams drop events
	}
	last, ok := r.last[stream]
	if !ok {
		last = -1
	}
	switch {
	case number == last+1, number > last && r.gaps:
	case number > last:
		r.w.report.breach(missed, "%s: %q from %d to %d", r.name, stream, last, number)
	case number == last:
		r.w.report.breach(again, "%s: %q number %d", r.name, stream, number)
	default:
		r.w.report.breach(disordered, "%s: %q number %d behind %d", r.name, stream, number, last)
	}
	r.last[stream] = max(number, last)
}

// missing returns how many events are missing at the end of each stream.
func (r *reader) missing(log map[string][]logged) (numbers []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gaps {
		return nil
	}
	for stream, events := range log {
		if !r.all && stream != "orders" {
			continue
		}
		last, ok := r.last[stream]
		if !ok {
			last = -1
		}
		for _, e := range events {
			if e.number > last {
				numbers = append(numbers, e.number)
			}
		}
	}
	return numbers
}

func (r *reader) judge(log map[string][]logged) {
	r.mu.Lock()
	if len(r.last) == 0 {
		r.w.report.breach(idle, "%s read nothing", r.name)
	}
	r.mu.Unlock()
	if numbers := r.missing(log); len(numbers) > 0 {
		r.w.report.breach(missed, "%s: %d events at the end, from %d on", r.name, len(numbers), numbers[0])
		r.w.report.count(missed, len(numbers)-1)
	}
}

func (r *reader) close() {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	require.NoError(r.w.t, r.sub.Close())
	r.wg.Wait()
}

func (w *world) startReaders(s setting) {
	w.newReader("fan-out", "orders", s, false, eventstore.SubscriberConfig{Mode: eventstore.ModeVolatile})
	w.newReader("fan-out with gaps", "orders", s, true, eventstore.SubscriberConfig{
		Mode: eventstore.ModeVolatile, DisableGapFilling: true,
	})
	w.newReader("catch-up", "orders", s, false, eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp})
	if !s.plain {
		w.newReader("catch-up of all", esclient.AllStream, s, false, eventstore.SubscriberConfig{
			Mode: eventstore.ModeCatchUp, BufferSize: 20,
		})
	}
}
