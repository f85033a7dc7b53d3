//go:build never

// This file is never compiled. It lists the packages that Go in documents may use without an import, and keeps them in
// go.mod.

package docs

import (
	_ "context"
	_ "crypto/tls"
	_ "crypto/x509"
	_ "database/sql"
	_ "encoding/json"
	_ "errors"
	_ "fmt"
	_ "io"
	_ "iter"
	_ "log"
	_ "log/slog"
	_ "net/http"
	_ "os"
	_ "os/signal"
	_ "strconv"
	_ "strings"
	_ "sync"
	_ "testing"
	_ "time"

	_ "github.com/ThreeDotsLabs/watermill"
	_ "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	_ "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	_ "github.com/ThreeDotsLabs/watermill/components/cqrs"
	_ "github.com/ThreeDotsLabs/watermill/components/delay"
	_ "github.com/ThreeDotsLabs/watermill/components/fanin"
	_ "github.com/ThreeDotsLabs/watermill/components/forwarder"
	_ "github.com/ThreeDotsLabs/watermill/components/metrics"
	_ "github.com/ThreeDotsLabs/watermill/components/requestreply"
	_ "github.com/ThreeDotsLabs/watermill/components/requeuer"
	_ "github.com/ThreeDotsLabs/watermill/message"
	_ "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	_ "github.com/ThreeDotsLabs/watermill/message/router/plugin"
	_ "github.com/google/uuid"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/stretchr/testify/assert"
	_ "github.com/stretchr/testify/require"

	_ "go.opentelemetry.io/otel"
	_ "go.opentelemetry.io/otel/baggage"
	_ "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	_ "go.opentelemetry.io/otel/propagation"
	_ "go.opentelemetry.io/otel/sdk/trace"

	_ "github.com/watermill-eventstore/watermill-eventstore"
	_ "github.com/watermill-eventstore/watermill-eventstore/discovery"
	_ "github.com/watermill-eventstore/watermill-eventstore/esclient"
	_ "github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	_ "github.com/watermill-eventstore/watermill-eventstore/esotel"
	_ "github.com/watermill-eventstore/watermill-eventstore/esprom"
	_ "github.com/watermill-eventstore/watermill-eventstore/esproto"
	_ "github.com/watermill-eventstore/watermill-eventstore/essql"
	_ "github.com/watermill-eventstore/watermill-eventstore/estest"
)
