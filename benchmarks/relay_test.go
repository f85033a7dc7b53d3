package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// startRelay runs a relay in this process, until stop is called.
func startRelay(t *testing.T) (url string, stop func()) {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serveRelay(context.Background(), inR, outW) }()
	var n note
	if err := json.NewDecoder(outR).Decode(&n); err != nil {
		t.Fatal(err)
	}
	return n.URL, func() {
		inW.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// The relay is a measure only if it does the work of a Pub/Sub: everything comes, unchanged, in order, and what is
// nacked comes again before the next.
func TestRelayCarriesMessages(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url, stop := startRelay(t)
	defer stop()
	pub, sub, err := openRelay(ctx, job{URL: url, Stream: "topic", Size: 200}, &meter{})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	defer sub.Close()
	const count = 6000 // more than the window holds
	var sent []*message.Message
	for i := range count {
		m := message.NewMessage(fmt.Sprint("uuid-", i), (&job{Size: 200}).payload())
		m.Metadata = message.Metadata{"number": fmt.Sprint(i), "": "empty key"}
		sent = append(sent, m)
	}
	if err := pub.Publish("topic", sent[0]); err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish("topic", sent[1:]...); err != nil {
		t.Fatal(err)
	}
	messages, err := sub.Subscribe(ctx, "topic")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range sent {
		if i == 7 {
			(<-messages).Nack()
		}
		got := <-messages
		if got == nil || !got.Equals(want) || !maps.Equal(got.Metadata, want.Metadata) {
			t.Fatalf("message %d is %+v", i, got)
		}
		got.Ack()
	}
}

func TestALostRelayIsNoticed(t *testing.T) {
	var m meter
	url, stop := startRelay(t)
	pub, sub, err := openRelay(t.Context(), job{URL: url, Stream: "topic", Size: 200}, &m)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := sub.Subscribe(t.Context(), "topic")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if msg, open := <-messages; open {
		t.Errorf("a message: %v", msg)
	}
	if err := pub.Publish("topic", message.NewMessage("uuid", nil)); err == nil {
		t.Error("a message is published")
	}
	pub.Close()
	sub.Close()
	if n := m.drops.Load(); n != 1 {
		t.Errorf("%d lost connections, want 1", n)
	}
}
