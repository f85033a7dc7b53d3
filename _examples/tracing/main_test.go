package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want is the output, without the times.
const want = `spans: 8, traces: 1
POST /orders internal
  send orders producer
    WriteEvents orders client
    process orders consumer consumer.group.name=shipping answer=nack Error: no parcel service answers
    process orders consumer consumer.group.name=shipping message.retry_count=1 answer=ack
      send parcels producer
        WriteEvents parcels client
        process parcels consumer consumer.group.name=mailing answer=ack
`

var (
	duration = regexp.MustCompile(` +[0-9.]+(ns|µs|ms|s)\b`)
	gap      = regexp.MustCompile(`(\S) +`)
)

func example(t *testing.T, url string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, &out, url)
	return gap.ReplaceAllString(duration.ReplaceAllString(out.String(), ""), "$1 "), err
}

func TestTheOrderAndTheParcelAreInOneTrace(t *testing.T) {
	got, err := example(t, os.Getenv("EVENTSTORE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("want\n%s\nhave\n%s", want, got)
	}
}

func TestTheTraceGoesToACollector(t *testing.T) {
	var received atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			received.Add(1)
		}
	}))
	defer collector.Close()
	defer http.DefaultClient.CloseIdleConnections()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	if _, err := example(t, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatal(err)
	}
	if received.Load() == 0 {
		t.Error("no spans came")
	}
}

func TestTracingSaysWhyItFails(t *testing.T) {
	_, err := example(t, "http://localhost:2113")
	if err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Fatalf("want an error that names the scheme, have %v", err)
	}
}
