package esprom

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// commandAnd is a command, and how it ended or why it is tried again.
type commandAnd struct{ command, what string }

// command has the series of the operations of one command.
type command struct {
	inFlight       prometheus.Gauge
	sent, received prometheus.Counter
}

// operationMetrics measures operations.
type operationMetrics struct {
	durations          *prometheus.HistogramVec
	inFlight           *prometheus.GaugeVec
	sent, received     *prometheus.CounterVec
	retries            *prometheus.CounterVec
	commands           *series[string, command]
	durationsByResult  *series[commandAnd, prometheus.Observer]
	retriesByTheReason *series[commandAnd, prometheus.Counter]
}

func (m *operationMetrics) init(cfg *HookConfig) {
	m.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "eventstore_client_operation_duration_seconds",
		Help: "How long operations took, waiting for a connection included.", Buckets: cfg.DurationBuckets,
	}, []string{"command", "result"})
	m.inFlight = newGauge("eventstore_client_operations_in_flight", "Operations that have begun and not ended.",
		"command")
	m.sent = newCounter("eventstore_client_operation_sent_bytes_total",
		"Bytes of requests, all attempts together.", "command")
	m.received = newCounter("eventstore_client_operation_received_bytes_total", "Bytes of replies.", "command")
	m.retries = newCounter("eventstore_client_retries_total",
		"Attempts that failed and that another one followed.", "command", "reason")
	m.commands = newSeries(func(name string) command {
		return command{
			inFlight: m.inFlight.WithLabelValues(name),
			sent:     m.sent.WithLabelValues(name), received: m.received.WithLabelValues(name),
		}
	})
	m.durationsByResult = newSeries(func(k commandAnd) prometheus.Observer {
		return m.durations.WithLabelValues(k.command, k.what)
	})
	m.retriesByTheReason = newSeries(func(k commandAnd) prometheus.Counter {
		return m.retries.WithLabelValues(k.command, k.what)
	})
}

func (m *operationMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.durations, m.inFlight, m.sent, m.received, m.retries}
}

// OnOperationStarted counts an operation that is in flight.
func (m *operationMetrics) OnOperationStarted(ctx context.Context, i esclient.OperationInfo) context.Context {
	m.commands.of(i.Command).inFlight.Inc()
	return ctx
}

// OnRetry counts an attempt that another one follows.
func (m *operationMetrics) OnRetry(_ context.Context, i esclient.OperationInfo) {
	m.retriesByTheReason.of(commandAnd{i.Command, reasonOf(i.Err)}).Inc()
}

// OnOperationEnded measures an operation.
func (m *operationMetrics) OnOperationEnded(_ context.Context, i esclient.OperationInfo) {
	c := m.commands.of(i.Command)
	c.inFlight.Dec()
	c.sent.Add(float64(i.Sent))
	c.received.Add(float64(i.Received))
	m.durationsByResult.of(commandAnd{i.Command, resultOf(i.Err)}).Observe(i.Duration.Seconds())
}
