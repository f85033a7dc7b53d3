package estest_test

import (
	"fmt"
	"net"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func ExampleServer_Append() {
	srv, err := estest.Start() // in tests: estest.Run(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	last, err := srv.Append("order-1",
		estest.Event{Type: "Placed", JSON: true, Data: []byte(`{"total":1}`)},
		estest.Event{Type: "Paid", Data: []byte("by card")})
	fmt.Println(last, err)
	events, err := srv.Read("order-1", 0, 10)
	for _, e := range events {
		fmt.Printf("%d@%s %s %s\n", e.Number, e.Stream, e.Type, e.Data)
	}
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// 0@order-1 Placed {"total":1}
	// 1@order-1 Paid by card
	// <nil>
}

// An event is gone when it is older than the stream's $maxAge says: a minute passes in no time.
func ExampleClock() {
	clock := estest.NewClock(time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
	srv, err := estest.Start(estest.WithClock(clock))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	_, _ = srv.Append("$$s", estest.Event{Type: "$metadata", JSON: true, Data: []byte(`{"$maxAge":60}`)})
	_, _ = srv.Append("s", estest.Event{Type: "T"})
	for range 2 {
		events, err := srv.Read("s", 0, 0)
		fmt.Println(len(events), err)
		clock.Advance(61 * time.Second)
	}
	// Output:
	// 1 <nil>
	// 0 <nil>
}

// The server is too busy for the first request of a client, and not for the second.
func ExampleServer_Intercept() {
	srv, err := estest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	rule := srv.Intercept(esproto.CmdPing, estest.TooBusy(), estest.Times(1))

	nc, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	replies := esproto.NewFrameReader(nc, 4096, esproto.MaxFrameSize)
	for n := range byte(2) {
		_, _ = nc.Write(esproto.AppendFrame(nil, esproto.CmdPing, esproto.CorrelationID{n + 1}, nil))
		h, _, err := replies.Next()
		fmt.Println(h.Command, err)
	}
	fmt.Println(rule.Hits())
	// Output:
	// NotHandled <nil>
	// Pong <nil>
	// 1
}
