package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestQuickstart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for what, want := range map[string]int{
		"Subscribed": 3, "Publishing": orders, "by invoices": orders, "by dashboard": orders, "Done": 1,
	} {
		if got := strings.Count(out.String(), what); got != want {
			t.Errorf("%q occurs %d times, want %d, in\n%s", what, got, want, out.String())
		}
	}
}

func TestQuickstartSaysWhyItFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, &out, "http://localhost:2113")
	if err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Fatalf("want an error that names the scheme, have %v", err)
	}
}
