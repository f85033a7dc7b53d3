package esprom_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// measured is a server, a client of it with a Hook, and the registry that the Hook is in.
type measured struct {
	srv      *estest.Server
	client   *esclient.Client
	registry *prometheus.Registry
}

func measure(t testing.TB, cfg esprom.HookConfig, options ...estest.Option) *measured {
	t.Helper()
	hook, err := esprom.NewHook(cfg)
	require.NoError(t, err)
	m := &measured{srv: estest.Run(t, options...), registry: prometheus.NewPedanticRegistry()}
	m.registry.MustRegister(hook)
	config, err := esclient.ParseConnectionString(m.srv.ConnectionString())
	require.NoError(t, err)
	config.Hooks = append(config.Hooks, hook)
	config.ReconnectDelay = time.Millisecond
	m.client, err = esclient.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { m.client.Close() })
	return m
}

func (m *measured) put(t testing.TB, stream string, n int) {
	t.Helper()
	for range n {
		_, err := m.srv.Append(stream, estest.Event{Type: "t", Data: []byte(`{"n":1}`), Metadata: []byte("{}")})
		require.NoError(t, err)
	}
}

// value returns that of one series, by pairs of label and value, and whether there is one. A histogram's is its count.
func value(t testing.TB, from prometheus.Gatherer, name string, labels ...string) (v float64, ok bool) {
	t.Helper()
	families, err := from.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if hasLabels(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() +
					float64(m.GetHistogram().GetSampleCount()), true
			}
		}
	}
	return 0, false
}

func hasLabels(m *dto.Metric, labels []string) bool {
	has := make(map[string]string)
	for _, l := range m.GetLabel() {
		has[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if has[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// reaches waits until a series has a value.
func (m *measured) reaches(t testing.TB, want float64, name string, labels ...string) {
	t.Helper()
	var v float64
	var ok bool
	require.Eventually(t, func() bool {
		v, ok = value(t, m.registry, name, labels...)
		return ok && v == want
	}, 20*time.Second, time.Millisecond, "%s%v", name, labels)
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
