package main

import (
	"fmt"
	"time"
)

// The contenders.
const (
	esClient  = "esclient"            // this project's client
	esSource  = "esclient AppendFrom" // the same, with a source of events that is appended to one stream in its order
	gesClient = "go-gesclient"        // github.com/jdextraze/go-gesclient v0.4.1
	rawFrames = "raw frames"          // requests built beforehand, replies counted: the limit of server and sockets

	ownPubSub  = "eventstore"          // this project's Publisher and Subscriber, which consumes as a group
	ownCatchUp = "eventstore catch-up" // the same in ModeCatchUp
	ownSerial  = "one at a time"       // the first again, with a handler that takes its time
	ownLanes   = "64 at a time"        // the same with Concurrency, by key
	ownDefault = "eventstore defaults" // the first with no setting but the name of the group
	bareTCP    = "bare TCP"            // a Pub/Sub that does no more than Watermill demands of one, see relay_server.go
	goChannel  = "gochannel"           // Watermill's own, within the process

	jetStream    = "JetStream"     // github.com/ThreeDotsLabs/watermill-nats v2.1.3 on nats-server, in memory
	redisStreams = "Redis streams" // github.com/ThreeDotsLabs/watermill-redisstream v1.4.5 on redis-server, in memory
)

var (
	clients    = []string{esClient, gesClient}
	all        = []string{esClient, gesClient, rawFrames}
	appenders  = []string{esClient, esSource, gesClient, rawFrames}
	publishers = []string{ownPubSub, bareTCP, jetStream, redisStreams, goChannel}
	pubSubs    = []string{ownPubSub, ownCatchUp, bareTCP, goChannel}
	atDefaults = []string{ownDefault, ownPubSub, bareTCP, jetStream, redisStreams}
	overTCP    = []string{ownPubSub, ownCatchUp, bareTCP} // gochannel passes pointers, so the size does not matter
	// storing are contenders whose events the embedded server stores; the relay stores the events of bareTCP.
	storing = []string{
		esClient, esSource, gesClient, rawFrames, ownPubSub, ownCatchUp, ownSerial, ownLanes, ownDefault,
	}
)

// scenario is a job that all its contenders do in turn.
type scenario struct {
	name       string
	contenders []string
	job        job
	growth     *step // nil if the scenario belongs to no series
}

const pageSize = 500

// scenarios lists all scenarios. The numbers of events are such that a round of a fast contender takes about a second.
func scenarios() []scenario {
	var list []scenario
	add := func(name string, contenders []string, j job) {
		list = append(list, scenario{name: name, contenders: contenders, job: j})
	}
	add("append, 1 in flight", all, job{Work: appending, Events: 10_000, Size: 256, InFlight: 1})
	add("append, 32 in flight", all, job{Work: appending, Events: 100_000, Size: 256, InFlight: 32})
	for _, n := range sizes(150_000, 150_000, 60_000, 4_000) {
		add("append, 256 in flight"+n.suffix, appenders,
			job{Work: appending, Events: n.events, Size: n.size, InFlight: 256})
	}
	add("append, 256 in flight, 10000 streams", all,
		job{Work: appending, Events: 150_000, Size: 256, InFlight: 256, Streams: 10_000})
	add("append, batches of 100", all, job{Work: appending, Events: 400_000, Size: 256, InFlight: 8, Batch: 100})

	for _, n := range sizes(800_000, 1_000_000, 80_000, 4_000) {
		add("read, pages of 500"+n.suffix, all, job{Work: reading, Events: n.events, Size: n.size})
	}
	add("read, 32 in flight, 10000 streams", all,
		job{Work: reading, Events: 200_000, Size: 256, InFlight: 32, Batch: 20, Streams: 10_000})

	for _, n := range sizes(800_000, 1_000_000, 80_000, 4_000) {
		add("catch-up"+n.suffix, clients, job{Work: catchingUp, Events: n.events, Size: n.size})
	}
	add("catch-up with all, 10000 streams", clients,
		job{Work: catchingUp, Events: 400_000, Size: 256, Streams: 10_000})
	add("catch-up, 1000 subscriptions", clients, job{Work: catchingUp, Events: 600_000, Size: 256, Subs: 1000})

	for _, n := range sizes(500_000, 500_000, 60_000, 4_000) {
		add("volatile"+n.suffix, all, job{Work: volatile, Events: n.events, Size: n.size})
	}
	add("volatile, 1000 subscriptions", clients, job{Work: volatile, Events: 300_000, Size: 256, Subs: 1000})

	add("persistent with acks, in-flight 10", clients, job{Work: persistent, Events: 100_000, Size: 256, InFlight: 10})
	for _, n := range sizes(200_000, 200_000, 80_000, 5_000) {
		add(fmt.Sprintf("persistent with acks, in-flight %d%s", groupInFlight(n.size), n.suffix), clients,
			job{Work: persistent, Events: n.events, Size: n.size, InFlight: groupInFlight(n.size)})
	}
	add("persistent with acks, in-flight 10, 1000 subscriptions", clients,
		job{Work: persistent, Events: 200_000, Size: 256, InFlight: 10, Subs: 1000})

	add("publish, 64 goroutines", publishers, job{Work: publishing, Events: 256_000, Size: 256, InFlight: 64})
	for _, n := range otherSizes(256_000, 60_000, 6_000) {
		add("publish, 64 goroutines"+n.suffix, []string{ownPubSub, bareTCP},
			job{Work: publishing, Events: n.events, Size: n.size, InFlight: 64})
	}
	add("publish, 64 goroutines, 10000 topics", []string{ownPubSub, goChannel},
		job{Work: publishing, Events: 256_000, Size: 256, InFlight: 64, Streams: 10_000})
	add("subscribe", pubSubs, job{Work: subscribing, Events: 300_000, Size: 256})
	for _, n := range otherSizes(400_000, 60_000, 4_000) {
		add("subscribe"+n.suffix, overTCP, job{Work: subscribing, Events: n.events, Size: n.size})
	}
	add("subscribe, 1000 topics", []string{ownPubSub, ownCatchUp, goChannel},
		job{Work: subscribing, Events: 200_000, Size: 256, Streams: 1000})
	add("router", pubSubs, job{Work: routing, Events: 200_000, Size: 256})
	add("router, defaults", atDefaults, job{Work: routing, Events: 100_000, Size: 256})
	for _, n := range otherSizes(300_000, 60_000, 4_000) {
		add("router"+n.suffix, overTCP, job{Work: routing, Events: n.events, Size: n.size})
	}
	add("router, handlers of 1 ms, 256 keys", []string{ownSerial, ownLanes},
		job{Work: handling, Events: 5_000, Size: 256, Handler: time.Millisecond})
	return list
}

// sizedEvents is a number of events of a size.
type sizedEvents struct {
	events, size int
	suffix       string // of the scenario's name; empty for the size without a suffix
}

// sizes takes the number of events of 256 bytes, and of each other size.
func sizes(of256B, of16B, of4KiB, of64KiB int) []sizedEvents {
	return append([]sizedEvents{{of256B, 256, ""}}, otherSizes(of16B, of4KiB, of64KiB)...)
}

func otherSizes(of16B, of4KiB, of64KiB int) []sizedEvents {
	return []sizedEvents{{of16B, 16, ", 16 B"}, {of4KiB, 4 << 10, ", 4 KiB"}, {of64KiB, 64 << 10, ", 64 KiB"}}
}

func bytesName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	if n >= 1<<10 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
