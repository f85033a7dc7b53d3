package esotel

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// system is messaging.system and db.system.name, as EventStore's own clients have it.
const system = "eventstoredb"

// spanKind tells spans of the same kind apart from others.
type spanKind struct {
	operation    string // the type of the operation has the same name, unless it is one of a client
	kind         trace.SpanKind
	topic, group string
}

// template has the parts that all spans of one kind share.
type template struct {
	name    string
	options []trace.SpanStartOption
}

// templates keeps the templates of spans, so that most spans begin without making their attributes again. It also
// bounds the number of names.
type templates struct {
	name   func(string) string
	given  bool // name is Config.Template
	max    int
	server []attribute.KeyValue

	mu    sync.RWMutex
	kinds map[spanKind]*template
	names map[string]bool
}

func newTemplates(cfg *Config, server []attribute.KeyValue) *templates {
	ts := &templates{
		name: cfg.Template, given: cfg.Template != nil, max: cfg.MaxNames, server: server,
		kinds: make(map[spanKind]*template), names: make(map[string]bool),
	}
	if !ts.given {
		ts.name = func(topic string) string { return topic }
	}
	return ts
}

// of returns the template of spans of a message.
func (ts *templates) of(k spanKind) *template {
	ts.mu.RLock()
	t := ts.kinds[k]
	ts.mu.RUnlock()
	if t != nil {
		return t
	}
	attributes := append([]attribute.KeyValue{
		semconv.MessagingSystemKey.String(system),
		semconv.MessagingOperationName(k.operation),
		semconv.MessagingOperationTypeKey.String(k.operation),
		semconv.MessagingDestinationName(k.topic),
	}, ts.server...)
	if k.group != "" {
		attributes = append(attributes, semconv.MessagingConsumerGroupName(k.group))
	}
	t = &template{name: k.operation}
	if name := ts.bounded(k.topic); name != "" {
		t.name += " " + name
		if ts.given {
			attributes = append(attributes, semconv.MessagingDestinationTemplate(name))
		}
	}
	t.options = []trace.SpanStartOption{trace.WithSpanKind(k.kind), trace.WithAttributes(attributes...)}
	ts.keep(k, t)
	return t
}

// ofOperation returns the template of spans of a client's operation.
func (ts *templates) ofOperation(command, stream string) *template {
	k := spanKind{operation: command}
	if ts.given {
		k.topic = ts.bounded(stream)
	}
	ts.mu.RLock()
	t := ts.kinds[k]
	ts.mu.RUnlock()
	if t != nil {
		return t
	}
	attributes := append([]attribute.KeyValue{
		semconv.DBSystemNameKey.String(system), semconv.DBOperationName(command),
	}, ts.server...)
	t = &template{name: command}
	if k.topic != "" {
		t.name += " " + k.topic
		attributes = append(attributes, semconv.DBQuerySummary(t.name))
	}
	t.options = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...)}
	ts.keep(k, t)
	return t
}

// keep keeps a template, unless there are many already.
func (ts *templates) keep(k spanKind, t *template) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.kinds) < ts.max*4 {
		ts.kinds[k] = t
	}
}

// bounded returns the part of a span's name that stands for a topic. It is empty if there are too many names already.
func (ts *templates) bounded(topic string) string {
	if topic == "" {
		return ""
	}
	name := ts.name(topic)
	ts.mu.RLock()
	known, full := ts.names[name], len(ts.names) >= ts.max
	ts.mu.RUnlock()
	if known || name == "" {
		return name
	}
	if full {
		return ""
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.names) >= ts.max && !ts.names[name] {
		return ""
	}
	ts.names[name] = true
	return name
}
