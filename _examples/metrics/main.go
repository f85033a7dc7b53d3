// Command metrics runs a small shop on EventStore and serves its metrics for Prometheus at /metrics: those of package
// esprom, and those of Watermill's router.
//
//	go -C _examples/metrics run .                             on an embedded server, for two seconds
//	go -C _examples/metrics run . -listen :2112 -for 1h       for the dashboard in dashboards/eventstore.json
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/metrics run .    on a real server
//
// On an embedded server it also loses the connection now and then, so that there is something to see.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where to serve /metrics")
	last := flag.Duration("for", 2*time.Second, "how long the shop is open")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"), *listen, *last)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url, listen string, last time.Duration) error {
	var server *estest.Server
	var http string // where the server's HTTP interface is, if not at its usual port
	if url == "" {
		var err error
		if server, err = estest.Start(estest.WithPersona(estest.Persona2310)); err != nil {
			return err
		}
		defer server.Close()
		url, http = server.ConnectionString(), server.HTTPAddr()
		fmt.Fprintf(out, "An embedded EventStore listens on %s; set EVENTSTORE_URL to use another.\n", server.Addr())
	}
	topic := "orders-" + watermill.NewShortUUID() // new for each run
	registry := prometheus.NewRegistry()
	client, err := measuredClient(url, http, topic, registry)
	if err != nil {
		return err
	}
	defer client.Close()

	stopServing, err := serve(ctx, out, listen, registry)
	if err != nil {
		return err
	}
	defer stopServing()
	ctx, cancel := context.WithTimeout(ctx, last)
	defer cancel()
	s := &shop{client: client, topic: topic, registry: registry, server: server}
	if err := s.open(ctx); err != nil {
		return err
	}
	return summary(out, registry)
}

// measuredClient opens a client and registers its metrics, and those of the groups that will be.
func measuredClient(url, http, topic string, registry *prometheus.Registry) (*esclient.Client, error) {
	hook, err := esprom.NewHook(esprom.HookConfig{Streams: []string{topic}})
	if err != nil {
		return nil, err
	}
	config, err := esclient.ParseConnectionString(url)
	if err != nil {
		return nil, err
	}
	if http != "" {
		config.HTTPEndpoint = http
	}
	config.Hooks = append(config.Hooks, hook)
	client, err := esclient.New(config)
	if err != nil {
		return nil, err
	}
	admin, err := esadmin.New(client)
	if err != nil {
		client.Close()
		return nil, err
	}
	groups, err := esprom.NewGroups(admin, esprom.GroupsConfig{
		Groups:   []esprom.GroupName{{Stream: topic, Group: billers}, {Stream: topic, Group: packers}},
		CacheFor: time.Second,
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	registry.MustRegister(hook, groups)
	return client, nil
}

// serve serves the metrics until stop is called.
func serve(ctx context.Context, out io.Writer, listen string, registry *prometheus.Registry) (stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(out, "serving:", err)
		}
	}()
	fmt.Fprintf(out, "Metrics are at http://%s/metrics\n", l.Addr())
	return func() {
		server.Close()
		<-ended
	}, nil
}

// summary prints a line for each metric with the sum of its series.
func summary(out io.Writer, registry *prometheus.Registry) error {
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		var sum float64
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
		fmt.Fprintf(out, "%-55s %g\n", f.GetName(), sum)
	}
	return nil
}
