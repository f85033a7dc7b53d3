module github.com/watermill-eventstore/watermill-eventstore/benchmarks

go 1.25.0

replace github.com/watermill-eventstore/watermill-eventstore => ../

require (
	github.com/ThreeDotsLabs/watermill v1.5.3
	github.com/jdextraze/go-gesclient v0.4.1
	github.com/satori/go.uuid v0.0.0-20181028125025-b2ce2384e17b
	github.com/watermill-eventstore/watermill-eventstore v0.0.0-00010101000000-000000000000
	golang.org/x/perf v0.0.0-20260709024250-82a0b07e230d
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/lithammer/shortuuid/v3 v3.0.7 // indirect
	github.com/oklog/ulid v1.3.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	gopkg.in/check.v1 v1.0.0-20201130134442-10cb98267c6c // indirect
)
