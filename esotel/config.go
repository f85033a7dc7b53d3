package esotel

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// DefaultMaxNames is the default of Config.MaxNames.
const DefaultMaxNames = 100

// ErrInvalidConfig means that a configuration cannot be used as it is. The error's text names the field.
var ErrInvalidConfig = errors.New("esotel: invalid configuration")

// Config is the configuration of a Tracing. Its zero value is valid.
type Config struct {
	// TracerProvider makes the tracer. The default is the global one, also if that is set later.
	TracerProvider trace.TracerProvider
	// Propagator writes the context of spans to the metadata of messages, and reads it. The default is the global one,
	// also if that is set later. Without a call of otel.SetTextMapPropagator, the global one does nothing, and traces
	// go on by $traceId and $spanId only.
	Propagator propagation.TextMapPropagator
	// Server is the address of the server or cluster, host or host:port, for the attributes server.address and
	// server.port. Without it, only spans of a Hook have them, with the node that was asked.
	Server string
	// Template, if not nil, makes the part of span names that stands for a topic, such as [Category], and must return
	// few different values. If it returns an empty string, span names have the operation only. Any number of goroutines
	// may call it at once. Without it, span names of messages have the topic, and those of a Hook have the command
	// only.
	Template func(topic string) string
	// MaxNames is how many topics, or results of Template, span names have. Further ones have the operation only. 0
	// means DefaultMaxNames.
	MaxNames int
	// DisableCreateSpans leaves out the create spans of a Publish call with several messages. All of them then carry
	// the context of the send span.
	DisableCreateSpans bool
	// LinkConsumers makes each process span the first of a trace of its own, with a link to the span that created the
	// message. It is meant for consumers that read old events, whose traces are no longer kept.
	LinkConsumers bool
	// ReceiveSpans adds a receive span before each process span, from the time when the message waits for the consumer
	// until the consumer takes it. It shows how long messages wait for a slow handler. By the conventions, receive
	// spans are meant for consumers that pull, so they are left out otherwise.
	ReceiveSpans bool
	// DisableTraceIDs leaves out $traceId and $spanId, by which the .NET client for gRPC finds the trace of an event.
	// They have 80 bytes or so in the metadata of each event of a sampled trace. They are read in any case.
	DisableTraceIDs bool
	// OperationsNeedParent makes a Hook leave out operations that are in no trace, such as those of subscriptions.
	OperationsNeedParent bool
}

// Category returns the category of a stream with {id} for the rest, such as order-{id} for order-17. It returns a name
// without a hyphen, or with nothing before it, as it is. It is meant for Config.Template.
func Category(stream string) string {
	if at := strings.IndexByte(stream, '-'); at > 0 {
		return stream[:at] + "-{id}"
	}
	return stream
}

// errServer has no value: somebody may give a connection string, with a password.
var errServer = fmt.Errorf("%w: Config.Server is neither a host nor host:port", ErrInvalidConfig)

// server returns the attributes of Server.
func (c *Config) server() ([]attribute.KeyValue, error) {
	if c.Server == "" {
		return nil, nil
	}
	if strings.ContainsAny(c.Server, "/@ ") {
		return nil, errServer
	}
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil {
		if host = strings.Trim(c.Server, "[]"); strings.Count(host, ":") == 1 {
			return nil, errServer
		}
		return []attribute.KeyValue{semconv.ServerAddress(host)}, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return nil, errServer
	}
	return []attribute.KeyValue{semconv.ServerAddress(host), semconv.ServerPort(int(n))}, nil
}

// endpoint returns the attributes of a node, by the given keys. The node is host:port.
func endpoint(node string, address, port attribute.Key) []attribute.KeyValue {
	host, number, err := net.SplitHostPort(node)
	if err != nil {
		return nil
	}
	attributes := []attribute.KeyValue{address.String(host)}
	if n, err := strconv.Atoi(number); err == nil {
		attributes = append(attributes, port.Int(n))
	}
	return attributes
}
