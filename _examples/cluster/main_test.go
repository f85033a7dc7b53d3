package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	url := os.Getenv("EVENTSTORE_URL")
	if err := run(ctx, &out, url); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	lines := []string{"published 60 messages, all of them confirmed", "consumed all 60 messages"}
	if url == "" {
		lines = append(lines, "node 0, the leader, is killed", "connecting again", "node 0 is back")
	}
	for _, line := range lines {
		if !strings.Contains(out.String(), line) {
			t.Errorf("want the line %q in\n%s", line, out.String())
		}
	}
}
