// Command service takes orders over HTTP, ships them, and counts those of each customer.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	_ "modernc.org/sqlite"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	url := cmp.Or(os.Getenv("EVENTSTORE_URL"), "tcp://admin:changeit@localhost:1113")
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "localhost:2112")
	if err == nil {
		err = run(ctx, url, "orders.db", listener, os.Stdout)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run is the service. It returns when ctx has ended and all handlers have, or when one cannot be started.
func run(ctx context.Context, url, file string, listener net.Listener, spans io.Writer) error {
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(spans)) // or otlptracehttp.New, for a collector
	if err != nil {
		return err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	defer func() { _ = provider.Shutdown(context.WithoutCancel(ctx)) }() // sends what is left
	tracing, err := esotel.New(esotel.Config{
		TracerProvider: provider, Propagator: propagation.TraceContext{}, OperationsNeedParent: true,
	})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	client, err := connect(url, tracing, registry)
	if err != nil {
		return err
	}
	defer client.Close()
	db, checkpoints, err := openDatabase(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()

	logger := watermill.NewSlogLogger(nil)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, logger)
	if err != nil {
		return err
	}
	tracing.AddTo(router) // before other middlewares
	router.AddMiddleware(middleware.Recoverer)
	if err := addShipping(router, client, logger); err != nil {
		return err
	}
	ready, err := addTotals(router, client, checkpoints, logger)
	if err != nil {
		return err
	}

	// The Router closes its own Publishers and Subscribers. This Publisher is for requests.
	orders, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: client}, logger)
	if err != nil {
		return err
	}
	defer orders.Close()
	traced, err := tracing.DecoratePublisher(orders)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: routes(traced, db, ready, registry), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = web.Serve(listener) }() // until Shutdown

	err = router.Run(ctx) // until ctx ends and the handlers have answered
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // the service was stopped while it waited for the server
	}
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, web.Shutdown(timeout)) // the requests; what is deferred follows
}

// connect returns the client of the whole service. Its hooks make metrics and spans.
func connect(url string, tracing *esotel.Tracing, registry *prometheus.Registry) (*esclient.Client, error) {
	cfg, err := esclient.ParseConnectionString(url)
	if err != nil {
		return nil, err
	}
	metrics, err := esprom.NewHook(esprom.HookConfig{Streams: []string{"orders", "shipments"}}) // become labels
	if err != nil {
		return nil, err
	}
	cfg.Hooks = append(cfg.Hooks, metrics, tracing.Hook())
	client, err := esclient.New(cfg) // does not wait for the server
	if err != nil {
		return nil, err
	}
	admin, err := esadmin.New(client)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	groups, err := esprom.NewGroups(admin, esprom.GroupsConfig{}) // asks the server's HTTP interface
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	registry.MustRegister(metrics, groups)
	return client, nil
}

// addShipping adds a handler whose work the processes share, by a consumer group. Its shipment is published before the
// order is acked. So after a crash it may be published twice, and never not at all.
func addShipping(router *message.Router, client *esclient.Client, logger watermill.LoggerAdapter) error {
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, ConsumerGroup: "shipping",
	}, logger)
	if err != nil {
		return err
	}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: client}, logger)
	if err != nil {
		return err
	}
	router.AddHandler("ship", "orders", subscriber, "shipments", publisher,
		func(order *message.Message) ([]*message.Message, error) {
			return []*message.Message{message.NewMessage(watermill.NewUUID(), order.Payload)}, nil
		})
	return nil
}

// openDatabase opens the database of the read model and of its checkpoint.
func openDatabase(ctx context.Context, file string) (*sql.DB, *essql.Store, error) {
	db, err := sql.Open("sqlite",
		"file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, nil, err
	}
	const schema = "CREATE TABLE IF NOT EXISTS totals (customer TEXT PRIMARY KEY, orders INTEGER NOT NULL)"
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	checkpoints, err := essql.New(db, essql.SQLite)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	if err := checkpoints.CreateTable(ctx); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, checkpoints, nil
}

// addTotals adds the projector. It counts each order exactly once, since the count and the checkpoint are saved in one
// transaction. ready becomes true when it has caught up.
func addTotals(
	router *message.Router, client *esclient.Client, checkpoints *essql.Store, logger watermill.LoggerAdapter,
) (ready *atomic.Bool, err error) {
	ready = new(atomic.Bool)
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, Mode: eventstore.ModeCatchUp, SubscriberName: "totals", Checkpoints: checkpoints,
		OnCaughtUp: func(string) { ready.Store(true) },
	}, logger)
	if err != nil {
		return nil, err
	}
	const add = "INSERT INTO totals VALUES (?, 1) ON CONFLICT (customer) DO UPDATE SET orders = orders + 1"
	router.AddConsumerHandler("totals", "orders", subscriber, func(msg *message.Message) error {
		var order struct{ Customer string }
		if err := json.Unmarshal(msg.Payload, &order); err != nil {
			eventstore.NackWith(msg, eventstore.ActionSkip, err.Error()) // otherwise it is repeated for ever
			return err
		}
		return checkpoints.Apply(msg.Context(), msg, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(msg.Context(), add, order.Customer)
			return err
		})
	})
	return ready, nil
}

// routes are the requests of people and machines.
func routes(orders message.Publisher, db *sql.DB, ready *atomic.Bool, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "the totals are not complete yet", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /orders/{customer}", func(w http.ResponseWriter, r *http.Request) {
		payload, err := json.Marshal(map[string]string{"customer": r.PathValue("customer")})
		if err == nil {
			err = orders.Publish("orders", message.NewMessageWithContext(r.Context(), watermill.NewUUID(), payload))
		}
		if err != nil { // errors.As(err, &publishError) tells whether it is written all the same
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /totals/{customer}", func(w http.ResponseWriter, r *http.Request) {
		var orders int
		const get = "SELECT COALESCE(SUM(orders), 0) FROM totals WHERE customer = ?"
		if err := db.QueryRowContext(r.Context(), get, r.PathValue("customer")).Scan(&orders); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(orders)
	})
	return mux
}
