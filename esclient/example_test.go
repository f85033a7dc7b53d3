package esclient_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Make one client and share it in the whole program. It allows concurrent calls. Connect is optional: it reports an
// error early.
func Example() {
	srv, err := estest.Start() // a real one: tcp://admin:changeit@localhost:1113
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	client, err := esclient.Open(srv.ConnectionString())
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := client.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Ping(ctx); err != nil {
		log.Fatal(err)
	}

	event, err := esclient.JSONEvent("placed", map[string]int{"total": 12})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Append(ctx, "order-1", esclient.NoStream, event); err != nil {
		log.Fatal(err)
	}
	for event, err := range client.ReadStream(ctx, "order-1", esclient.ReadOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Number, event.Type, string(event.Data))
	}

	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	<-client.Closed()
	_, err = client.Ping(ctx)
	fmt.Println(err)
	// Output:
	// 0 placed {"total":12}
	// esclient: ping: the client is closed
}

// lostConnections is a hook for lost connections.
type lostConnections chan esclient.ConnectionInfo

func (l lostConnections) OnDisconnected(i esclient.ConnectionInfo) { l <- i }

// Watch the connections of a borrowed client.
func ExampleClient_AddConnectionHook() {
	srv, err := estest.Start() // a real one: tcp://admin:changeit@localhost:1113
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	client, err := esclient.Open(srv.ConnectionString())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := client.Connect(ctx); err != nil {
		log.Fatal(err)
	}

	lost := make(lostConnections, 10)
	remove, err := client.AddConnectionHook(lost)
	if err != nil {
		log.Fatal(err)
	}
	defer remove()
	srv.DropConnections()
	fmt.Println((<-lost).Endpoint == srv.Addr())
	// Output: true
}

// Print the configuration of a client, defaults included, without the password.
func ExampleClient_Config() {
	client, err := esclient.Open("tcp://admin:changeit@localhost:1113?operationTimeout=3000")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	cfg := client.Config()
	fmt.Println(cfg.OperationTimeout, cfg.ConnectTimeout, cfg.ConnectionName)
	fmt.Println(cfg.Credentials)
	// Output:
	// 3s 5s watermill-eventstore
	// admin:***
}
