module github.com/watermill-eventstore/watermill-eventstore/_examples/metrics

go 1.25.0

require (
	github.com/ThreeDotsLabs/watermill v1.5.3
	github.com/watermill-eventstore/watermill-eventstore v0.0.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-chi/chi/v5 v5.2.5 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.67.5 // indirect
	github.com/prometheus/procfs v0.20.1 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	golang.org/x/sys v0.44.0 // indirect
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/lithammer/shortuuid/v3 v3.0.7 // indirect
	github.com/oklog/ulid v1.3.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/prometheus/client_golang v1.23.2
	github.com/watermill-eventstore/watermill-eventstore/esprom v0.0.0
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/watermill-eventstore/watermill-eventstore => ../..

replace github.com/watermill-eventstore/watermill-eventstore/esprom => ../../esprom
