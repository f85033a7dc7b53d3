package esprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// connectionMetrics measures connections.
type connectionMetrics struct {
	ready        prometheus.Gauge
	connects     prometheus.Counter
	disconnects  *prometheus.CounterVec
	reconnects   prometheus.Counter
	authFailures prometheus.Counter
}

func (m *connectionMetrics) init() {
	m.ready = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "eventstore_client_connections", Help: "Connections that are ready.",
	})
	m.connects = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "eventstore_client_connects_total", Help: "Connections that became ready.",
	})
	m.disconnects = newCounter("eventstore_client_disconnects_total", "Connections that were ready and ended.",
		"reason")
	m.reconnects = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "eventstore_client_reconnects_total",
		Help: "Attempts to connect that follow a failed attempt or a lost connection.",
	})
	m.authFailures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "eventstore_client_authentication_failures_total",
		Help: "Attempts to connect whose credentials the server refused.",
	})
}

func (m *connectionMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.ready, m.connects, m.disconnects, m.reconnects, m.authFailures}
}

// OnConnected counts a connection that is ready.
func (m *connectionMetrics) OnConnected(esclient.ConnectionInfo) {
	m.ready.Inc()
	m.connects.Inc()
}

// OnDisconnected counts a connection that has ended.
func (m *connectionMetrics) OnDisconnected(i esclient.ConnectionInfo) {
	m.ready.Dec()
	m.disconnects.WithLabelValues(reasonOf(i.Err)).Inc()
}

// OnReconnecting counts an attempt that follows a failure.
func (m *connectionMetrics) OnReconnecting(esclient.ConnectionInfo) { m.reconnects.Inc() }

// OnAuthenticationFailed counts credentials that were refused.
func (m *connectionMetrics) OnAuthenticationFailed(esclient.ConnectionInfo) { m.authFailures.Inc() }
