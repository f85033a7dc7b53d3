package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// printTraces prints the spans of each trace as a tree.
func printTraces(out io.Writer, spans tracetest.SpanStubs) error {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	children := make(map[trace.SpanID][]tracetest.SpanStub)
	var roots []tracetest.SpanStub
	for _, s := range spans {
		if s.Parent.IsValid() {
			children[s.Parent.SpanID()] = append(children[s.Parent.SpanID()], s)
		} else {
			roots = append(roots, s)
		}
	}
	fmt.Fprintf(out, "spans: %d, traces: %d\n", len(spans), len(roots))
	for _, root := range roots {
		if err := printTree(out, root, children, ""); err != nil {
			return err
		}
	}
	return nil
}

func printTree(
	out io.Writer, s tracetest.SpanStub, children map[trace.SpanID][]tracetest.SpanStub, indent string,
) error {
	title := indent + s.Name
	if _, err := fmt.Fprintf(out, "%-36s %-9s %8s%s\n", title, strings.ToLower(s.SpanKind.String()),
		s.EndTime.Sub(s.StartTime).Round(10*time.Microsecond), details(s)); err != nil {
		return err
	}
	for _, child := range children[s.SpanContext.SpanID()] {
		if err := printTree(out, child, children, indent+"  "); err != nil {
			return err
		}
	}
	return nil
}

// details returns some attributes of a span.
func details(s tracetest.SpanStub) string {
	var b strings.Builder
	for _, kv := range s.Attributes {
		switch kv.Key {
		case "messaging.consumer.group.name", "messaging.eventstoredb.answer",
			"messaging.eventstoredb.message.retry_count":
			_, name, _ := strings.Cut(string(kv.Key), "messaging.")
			fmt.Fprintf(&b, "  %s=%s", strings.TrimPrefix(name, "eventstoredb."), kv.Value.String())
		}
	}
	if s.Status.Description != "" {
		fmt.Fprintf(&b, "  %s: %s", s.Status.Code, s.Status.Description)
	}
	return b.String()
}
