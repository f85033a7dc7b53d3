module github.com/watermill-eventstore/watermill-eventstore/_examples/rebuild

go 1.25.0

require (
	github.com/ThreeDotsLabs/watermill v1.5.3
	github.com/watermill-eventstore/watermill-eventstore v0.0.0
	github.com/watermill-eventstore/watermill-eventstore/essql v0.0.0
	modernc.org/sqlite v1.59.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/lithammer/shortuuid/v3 v3.0.7 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.0.0 // indirect
	github.com/oklog/ulid v1.3.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	golang.org/x/sys v0.47.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	modernc.org/libc v1.75.7 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)

replace github.com/watermill-eventstore/watermill-eventstore => ../..

replace github.com/watermill-eventstore/watermill-eventstore/essql => ../../essql
