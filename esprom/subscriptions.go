package esprom

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// pair is the labels of a subscription.
type pair struct{ stream, group string }

// counts has the series of one pair of labels. Those whose labels are more are found when they are needed.
type counts struct {
	pair
	confirmed, delivered, deliveredBytes, redelivered  prometheus.Counter
	acked, parked, skipped, unresolved, slow, wentBack prometheus.Counter
	delay                                              prometheus.Observer
	nacked                                             map[esclient.NackAction]prometheus.Counter
}

// actions are the label action of each action.
var actions = map[esclient.NackAction]string{
	esclient.NackPark: "park", esclient.NackRetry: "retry", esclient.NackSkip: "skip", esclient.NackStop: "stop",
}

// subscriptionMetrics measures subscriptions.
type subscriptionMetrics struct {
	streamLabel func(string) string
	limit       int

	confirmed, delivered, deliveredBytes, redelivered  *prometheus.CounterVec
	acked, parked, skipped, unresolved, slow, wentBack *prometheus.CounterVec
	nacked, leftOut, dropped, ended                    *prometheus.CounterVec
	delay                                              *prometheus.HistogramVec

	mu      sync.RWMutex
	pairs   map[pair]*counts
	running map[esclient.AnySubscription]*running

	active, queue, lagEvents, lagSeconds *prometheus.Desc
}

func (m *subscriptionMetrics) init(cfg *HookConfig) {
	m.streamLabel, m.limit = cfg.StreamLabel, cfg.MaxSubscriptions
	m.pairs, m.running = make(map[pair]*counts), make(map[esclient.AnySubscription]*running)
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return newCounter("eventstore_subscription_"+name, help, append([]string{"stream", "group"}, more...)...)
	}
	m.confirmed = counter("confirmations_total", "Confirmations of subscriptions by the server.")
	m.delivered = counter("delivered_total", "Events that were delivered to the consumer.")
	m.deliveredBytes = counter("delivered_bytes_total", "Bytes of data and metadata of delivered events.")
	m.redelivered = counter("redelivered_total", "Delivered events that the server had delivered before.")
	m.acked = counter("acked_total", "Events that the consumer acked.")
	m.nacked = counter("nacked_total", "Events that the consumer nacked.", "action")
	m.parked = counter("parked_total", "Events that the consumer parked.")
	m.skipped = counter("skipped_total", "Events that the consumer skipped.")
	m.unresolved = counter("unresolved_total", "Links that lead to no event.")
	m.leftOut = counter("left_out_total", "Pushed events that the consumer did not get.", "reason")
	m.dropped = counter("dropped_total", "Confirmed subscriptions that ended at the server.", "reason")
	m.slow = counter("slow_consumer_total", "Consumers too slow for the message timeout of their group.")
	m.wentBack = counter("log_went_back_total", "Servers that came back with an older log.")
	m.ended = counter("ended_total", "Subscriptions that ended.", "reason")
	m.delay = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "eventstore_subscription_delivery_delay_seconds",
		Help:    "From the write of an event to its delivery, by the clocks of the server and of this process.",
		Buckets: cfg.DelayBuckets,
	}, []string{"stream", "group"})
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("eventstore_subscription_"+name, help, []string{"stream", "group"}, nil)
	}
	m.active = gauge("active", "Subscriptions that have begun and not ended.")
	m.queue = gauge("queue_length", "Events that were received and not delivered.")
	m.lagEvents = gauge("lag_events", "Events of the stream that are known to lie behind the last one delivered.")
	m.lagSeconds = gauge("lag_seconds", "Age of the oldest event that is known and not delivered.")
}

func (m *subscriptionMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.confirmed, m.delivered, m.deliveredBytes, m.redelivered, m.acked, m.parked, m.skipped, m.unresolved, m.slow,
		m.wentBack, m.nacked, m.leftOut, m.dropped, m.ended, m.delay,
	}
}

// countsOf returns the series of a pair of labels. m is locked.
func (m *subscriptionMetrics) countsOf(labels pair) *counts {
	if c := m.pairs[labels]; c != nil {
		return c
	}
	if len(m.pairs) >= m.limit {
		labels = pair{other, other}
		if c := m.pairs[labels]; c != nil {
			return c
		}
	}
	of := func(v *prometheus.CounterVec) prometheus.Counter {
		return v.WithLabelValues(labels.stream, labels.group)
	}
	c := &counts{
		pair:      labels,
		confirmed: of(m.confirmed), delivered: of(m.delivered), deliveredBytes: of(m.deliveredBytes),
		redelivered: of(m.redelivered), acked: of(m.acked), parked: of(m.parked), skipped: of(m.skipped),
		unresolved: of(m.unresolved), slow: of(m.slow), wentBack: of(m.wentBack),
		delay:  m.delay.WithLabelValues(labels.stream, labels.group),
		nacked: make(map[esclient.NackAction]prometheus.Counter, len(actions)),
	}
	for action, name := range actions {
		c.nacked[action] = m.nacked.WithLabelValues(labels.stream, labels.group, name)
	}
	m.pairs[labels] = c
	return c
}

// valid returns a label that Prometheus takes: a server's names may have any bytes.
func valid(label string) string { return strings.ToValidUTF8(label, "\uFFFD") }

// of returns the series of the subscription in a hook's call, and notes that the subscription is running.
func (m *subscriptionMetrics) of(i *esclient.SubscriptionInfo) *running {
	m.mu.RLock()
	r := m.running[i.Subscription]
	m.mu.RUnlock()
	if r != nil {
		return r
	}
	labels := pair{valid(m.streamLabel(i.Stream)), valid(i.Group)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r = m.running[i.Subscription]; r == nil {
		r = &running{counts: m.countsOf(labels), shared: i.Group != ""}
		m.running[i.Subscription] = r
	}
	return r
}

func (m *subscriptionMetrics) remove(s esclient.AnySubscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, s)
}

// OnSubscribed counts a confirmation.
func (m *subscriptionMetrics) OnSubscribed(i esclient.SubscriptionInfo) { m.of(&i).confirmed.Inc() }

// OnDelivered counts an event, and notes how far the consumer is.
func (m *subscriptionMetrics) OnDelivered(i esclient.SubscriptionInfo) {
	r := m.of(&i)
	r.delivered.Inc()
	r.deliveredBytes.Add(float64(len(i.Event.Data) + len(i.Event.Metadata)))
	if i.Event.RetryCount > 0 {
		r.redelivered.Inc()
	}
	original := i.Event.Original()
	if !original.Created.IsZero() {
		r.delay.Observe(max(0, time.Since(original.Created.Time()).Seconds()))
	}
	r.passed(original, i.Stream == esclient.AllStream)
}

// OnAcked counts an event.
func (m *subscriptionMetrics) OnAcked(i esclient.SubscriptionInfo) { m.of(&i).acked.Inc() }

// OnNacked counts an event.
func (m *subscriptionMetrics) OnNacked(i esclient.SubscriptionInfo) {
	r := m.of(&i)
	if c := r.nacked[i.Action]; c != nil {
		c.Inc()
	}
	if i.Action == esclient.NackSkip {
		r.skipped.Inc()
	}
}

// OnParked counts an event.
func (m *subscriptionMetrics) OnParked(i esclient.SubscriptionInfo) { m.of(&i).parked.Inc() }

// OnUnresolved counts a link.
func (m *subscriptionMetrics) OnUnresolved(i esclient.SubscriptionInfo) { m.of(&i).unresolved.Inc() }

// OnLeftOut counts an event.
func (m *subscriptionMetrics) OnLeftOut(i esclient.SubscriptionInfo) { m.because(m.leftOut, &i) }

// OnDropped counts the end of a subscription at the server.
func (m *subscriptionMetrics) OnDropped(i esclient.SubscriptionInfo) {
	m.of(&i).caughtUp.Store(false)
	m.because(m.dropped, &i)
}

// OnSlowConsumer counts a consumer.
func (m *subscriptionMetrics) OnSlowConsumer(i esclient.SubscriptionInfo) { m.of(&i).slow.Inc() }

// OnCaughtUp notes that nothing is left to read.
func (m *subscriptionMetrics) OnCaughtUp(i esclient.SubscriptionInfo) { m.of(&i).caughtUp.Store(true) }

// OnFellBehind notes that something may be left to read.
func (m *subscriptionMetrics) OnFellBehind(i esclient.SubscriptionInfo) {
	m.of(&i).caughtUp.Store(false)
}

// OnLogWentBack counts a log, and forgets how far the consumer was in the one before.
func (m *subscriptionMetrics) OnLogWentBack(i esclient.SubscriptionInfo) {
	r := m.of(&i)
	r.wentBack.Inc()
	r.forget()
}

// OnSubscriptionEnded counts the end of a subscription.
func (m *subscriptionMetrics) OnSubscriptionEnded(i esclient.SubscriptionInfo) {
	m.because(m.ended, &i)
	m.remove(i.Subscription)
}

func (m *subscriptionMetrics) because(v *prometheus.CounterVec, i *esclient.SubscriptionInfo) {
	r := m.of(i)
	v.WithLabelValues(r.stream, r.group, reasonOf(i.Err)).Inc()
}
