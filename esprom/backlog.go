package esprom

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// running is a subscription that has not ended.
type running struct {
	*counts
	shared   bool         // with others of a group
	caughtUp atomic.Bool  // of a subscription without a group: it has delivered all that was there
	number   atomic.Int64 // 1 more than the number of the event that was delivered last; 0 before any, and in $all
	created  atomic.Int64 // when that was written, in nanoseconds since 1970; 0 if that is not known
}

// passed notes that an event is delivered.
func (r *running) passed(e *esclient.Event, all bool) {
	if !all {
		r.number.Store(e.Number + 1)
	}
	if !e.Created.IsZero() {
		r.created.Store(e.Created.Time().UnixNano())
	}
}

func (r *running) forget() {
	r.number.Store(0)
	r.created.Store(0)
}

// lag returns how far the consumer is behind at a moment. events is -1 if that is not known.
func (r *running) lag(b esclient.Backlog, now time.Time) (events int64, seconds float64) {
	waiting := b.Queued > 0 || !r.shared && !r.caughtUp.Load()
	last := r.number.Load() - 1
	switch {
	case last < 0:
		events = -1
	case waiting:
		// What others of the group get lies behind this consumer's last event, too, but does not wait for it.
		events = max(0, b.Newest-last)
	}
	switch {
	case !b.Oldest.IsZero():
		seconds = now.Sub(b.Oldest).Seconds()
	case b.Queued == 0 && waiting && r.created.Load() != 0:
		seconds = now.Sub(time.Unix(0, r.created.Load())).Seconds() // later events were not read yet, and are younger
	}
	return events, max(0, seconds)
}

// behind sums up the subscriptions with one pair of labels.
type behind struct {
	active, queued int
	lagEvents      int64 // of the one that is furthest behind; -1 if none has any
	lagSeconds     float64
}

func (m *subscriptionMetrics) describeBacklog(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.active, m.queue, m.lagEvents, m.lagSeconds} {
		to <- d
	}
}

// collectBacklog asks all running subscriptions how far their consumers are behind.
func (m *subscriptionMetrics) collectBacklog(to chan<- prometheus.Metric) {
	all := make(map[pair]*behind)
	m.mu.RLock()
	for labels := range m.pairs {
		all[labels] = &behind{lagEvents: -1}
	}
	running := maps.Clone(m.running)
	m.mu.RUnlock()
	now := time.Now()
	for s, r := range running {
		select {
		case <-s.Closed():
			// Another goroutine may have called a hook after the end.
			m.remove(s)
		default:
			all[r.pair].add(r, s.Backlog(), now)
		}
	}
	for labels, b := range all {
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels.stream, labels.group)
		}
		gauge(m.active, float64(b.active))
		gauge(m.queue, float64(b.queued))
		if b.active == 0 {
			continue
		}
		gauge(m.lagSeconds, b.lagSeconds)
		if b.lagEvents >= 0 {
			gauge(m.lagEvents, float64(b.lagEvents))
		}
	}
}

// add takes a subscription into account.
func (b *behind) add(r *running, backlog esclient.Backlog, now time.Time) {
	events, seconds := r.lag(backlog, now)
	b.active++
	b.queued += backlog.Queued
	b.lagEvents, b.lagSeconds = max(b.lagEvents, events), max(b.lagSeconds, seconds)
}
