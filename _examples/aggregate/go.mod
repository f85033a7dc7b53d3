module github.com/watermill-eventstore/watermill-eventstore/_examples/aggregate

go 1.25.0

require (
	github.com/google/uuid v1.6.0
	github.com/watermill-eventstore/watermill-eventstore v0.0.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/watermill-eventstore/watermill-eventstore => ../..
