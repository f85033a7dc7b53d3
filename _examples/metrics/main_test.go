package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMetrics(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, os.Getenv("EVENTSTORE_URL"), "127.0.0.1:0", time.Second); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"Metrics are at http://127.0.0.1:",
		"\neventstore_client_connections                           1\n",
		"\neventstore_groups_up                                    1\n",
		"\neventstore_subscription_delivered_total",
		"\nwatermill_handler_execution_time_seconds",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestMetricsSaysWhyItFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, &out, "http://localhost:2113", "127.0.0.1:0", time.Second)
	if err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Fatalf("want an error that names the scheme, have %v", err)
	}
}
