package esprom

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// DefaultMaxSubscriptions is the default of HookConfig.MaxSubscriptions.
const DefaultMaxSubscriptions = 100

// ErrInvalidConfig means that a configuration cannot be used as it is. The error's text names the field.
var ErrInvalidConfig = errors.New("esprom: invalid configuration")

// other is the label of streams and groups that have none of their own.
const other = "other"

// HookConfig is the configuration of a Hook. Its zero value is valid.
type HookConfig struct {
	// Streams are the streams whose names become labels, besides $all. All others get the label "other".
	Streams []string
	// StreamLabel, if not nil, makes the label of a stream, in place of Streams, such as the category of a stream's
	// name. It must return few different labels, at most some hundred, and may be called by any number of goroutines
	// at once.
	StreamLabel func(stream string) string
	// MaxSubscriptions is how many pairs of the labels stream and group a Hook makes. Further pairs get the label
	// "other" for both. 0 means DefaultMaxSubscriptions.
	MaxSubscriptions int
	// DurationBuckets are the upper bounds of the buckets of operation durations, in seconds. The default goes from 0.5
	// ms to 16 s.
	DurationBuckets []float64
	// DelayBuckets are the upper bounds of the buckets of delivery delays, in seconds. The default goes from 1 ms to 18
	// hours.
	DelayBuckets []float64
}

func (c *HookConfig) setDefaults() error {
	if c.MaxSubscriptions < 0 {
		return fmt.Errorf("%w: HookConfig.MaxSubscriptions, %d, is negative", ErrInvalidConfig, c.MaxSubscriptions)
	}
	if c.StreamLabel != nil && len(c.Streams) > 0 {
		return fmt.Errorf("%w: HookConfig.Streams and StreamLabel are both given: one is enough", ErrInvalidConfig)
	}
	if c.MaxSubscriptions == 0 {
		c.MaxSubscriptions = DefaultMaxSubscriptions
	}
	if c.StreamLabel == nil {
		c.StreamLabel = listed(c.Streams)
	}
	if c.DurationBuckets == nil {
		c.DurationBuckets = prometheus.ExponentialBuckets(0.0005, 2, 16)
	}
	if c.DelayBuckets == nil {
		c.DelayBuckets = prometheus.ExponentialBuckets(0.001, 4, 14)
	}
	for _, b := range []struct {
		field   string
		buckets []float64
	}{{"DurationBuckets", c.DurationBuckets}, {"DelayBuckets", c.DelayBuckets}} {
		if !slices.IsSorted(b.buckets) || len(slices.Compact(slices.Clone(b.buckets))) < len(b.buckets) {
			return fmt.Errorf("%w: HookConfig.%s do not increase", ErrInvalidConfig, b.field)
		}
	}
	return nil
}

// listed returns a function that keeps the names of the list and of $all.
func listed(streams []string) func(string) string {
	keep := map[string]bool{esclient.AllStream: true}
	for _, s := range streams {
		keep[s] = true
	}
	return func(stream string) string {
		if keep[stream] {
			return stream
		}
		return other
	}
}

// Hook measures esclient.Clients. It is an esclient.Hook, for esclient.Config, and a prometheus.Collector. All methods
// may be called by any number of goroutines at once. They do not wait for anything, and once a label is known, to
// count allocates nothing.
type Hook struct {
	operationMetrics
	connectionMetrics
	subscriptionMetrics
}

// NewHook makes a Hook. It fails with ErrInvalidConfig.
func NewHook(cfg HookConfig) (*Hook, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	h := &Hook{}
	h.operationMetrics.init(&cfg)
	h.connectionMetrics.init()
	h.subscriptionMetrics.init(&cfg)
	return h, nil
}

// Describe tells of all metrics, as prometheus.Collector demands.
func (h *Hook) Describe(to chan<- *prometheus.Desc) {
	for _, c := range h.collectors() {
		c.Describe(to)
	}
	h.describeBacklog(to)
}

// Collect returns all values, as prometheus.Collector demands. It asks running subscriptions how far their consumers
// are behind, and no server.
func (h *Hook) Collect(to chan<- prometheus.Metric) {
	for _, c := range h.collectors() {
		c.Collect(to)
	}
	h.collectBacklog(to)
}

func (h *Hook) collectors() []prometheus.Collector {
	return slices.Concat(h.operationMetrics.collectors(), h.connectionMetrics.collectors(),
		h.subscriptionMetrics.collectors())
}

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func newGauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}
