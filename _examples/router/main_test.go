package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRouter(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, line := range []string{
		"shipping: order 1 is on its way", "shipping: order 2 is on its way", "shipping: order 3 is on its way",
		"invoices: order 1 costs 10", "invoices: order 3 costs 30",
		`poisoned: {"ID":"2","Amount":0}, since order 2 has no amount`,
	} {
		if strings.Count(out.String(), line) != 1 {
			t.Errorf("want the line %q once in\n%s", line, out.String())
		}
	}
}
