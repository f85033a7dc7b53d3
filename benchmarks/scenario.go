package main

import (
	"fmt"
	"time"
)

// The contenders.
const (
	esClient  = "esclient"     // this project's client
	gesClient = "go-gesclient" // github.com/jdextraze/go-gesclient v0.4.1
	rawFrames = "raw frames"   // requests built beforehand, replies counted: what the server and the sockets allow

	ownPubSub  = "eventstore"          // this project's Publisher and Subscriber, which consumes as a group
	ownCatchUp = "eventstore catch-up" // the same in ModeCatchUp
	ownSerial  = "one at a time"       // the first again, with a handler that takes its time
	ownLanes   = "64 at a time"        // the same with Concurrency, by key
	bareTCP    = "bare TCP"            // a Pub/Sub that does no more than Watermill demands of one, see relay_server.go
	goChannel  = "gochannel"           // Watermill's own, within the process
)

// The kinds of work.
const (
	appending  = "append"
	reading    = "read"
	catchingUp = "catch-up"
	volatile   = "volatile"
	persistent = "persistent"

	publishing  = "publish"
	subscribing = "subscribe"
	routing     = "router"
	handling    = "handler"
)

// job is one measurement of one contender: what a worker process is told to do.
type job struct {
	Contender string
	Work      string
	URL       string        // of the server: tcp://user:password@host:port
	Stream    string        // what is written to or read from; the first one if there are several
	Group     string        // to make, for persistent subscriptions
	WarmUp    int           // events to write or to receive before those that are measured
	Events    int           // to write or to receive, by all subscriptions together
	Size      int           // of an event's data, in bytes
	InFlight  int           // appends or Publish calls at a time, or events not acked
	Batch     int           // events in one append
	Streams   int           // to spread appends over
	Subs      int           // subscriptions on the one connection
	Handler   time.Duration // what the handler of a message takes
}

// scenario is work that all its contenders do in turn.
type scenario struct {
	name       string
	contenders []string
	job        job
	prepare    bool // the stream holds all events before the contenders begin
	push       bool // events are written once the contender has subscribed
}

var (
	clients = []string{esClient, gesClient}
	all     = []string{esClient, gesClient, rawFrames}
	pubSubs = []string{ownPubSub, ownCatchUp, bareTCP, goChannel}
	// storing are those whose events the embedded server stores; the relay stores those of bareTCP.
	storing = []string{esClient, gesClient, rawFrames, ownPubSub, ownCatchUp, ownSerial, ownLanes}
)

const pageSize = 500

// scenarios lists what is measured. The numbers of events are such that a round of a fast contender takes about a second.
func scenarios() []scenario {
	var list []scenario
	add := func(name string, contenders []string, j job) *scenario {
		list = append(list, scenario{name: name, contenders: contenders, job: j})
		return &list[len(list)-1]
	}
	for _, n := range []struct{ inFlight, events int }{{1, 10_000}, {32, 80_000}, {256, 150_000}} {
		add(fmt.Sprintf("append, %d in flight", n.inFlight), all,
			job{Work: appending, Events: n.events, Size: 256, InFlight: n.inFlight})
	}
	add("append, batches of 100", all, job{Work: appending, Events: 400_000, Size: 256, InFlight: 8, Batch: 100})
	for _, n := range []struct{ size, events int }{{16, 150_000}, {4 << 10, 40_000}, {64 << 10, 4_000}} {
		add(fmt.Sprintf("append, 256 in flight, %s", bytesName(n.size)), all,
			job{Work: appending, Events: n.events, Size: n.size, InFlight: 256})
	}
	add("append, 256 in flight, 10000 streams", all,
		job{Work: appending, Events: 150_000, Size: 256, InFlight: 256, Streams: 10_000})

	for _, n := range []struct{ size, events int }{{256, 600_000}, {16, 600_000}, {4 << 10, 40_000}, {64 << 10, 2_000}} {
		add(fmt.Sprintf("read, pages of 500%s", sizeSuffix(n.size)), all,
			job{Work: reading, Events: n.events, Size: n.size}).prepare = true
	}
	add("catch-up", clients, job{Work: catchingUp, Events: 600_000, Size: 256}).prepare = true
	add("volatile", all, job{Work: volatile, Events: 150_000, Size: 256, Subs: 1}).push = true
	for _, n := range []struct{ size, events int }{{16, 200_000}, {4 << 10, 40_000}, {64 << 10, 2_000}} {
		add("volatile"+sizeSuffix(n.size), all, job{Work: volatile, Events: n.events, Size: n.size, Subs: 1}).push = true
	}
	add("volatile, 1000 subscriptions", clients, job{Work: volatile, Events: 200_000, Size: 256, Subs: 1000}).push = true
	for _, n := range []struct{ inFlight, events int }{{10, 60_000}, {200, 200_000}} {
		add(fmt.Sprintf("persistent with acks, in-flight %d", n.inFlight), clients,
			job{Work: persistent, Events: n.events, Size: 256, InFlight: n.inFlight}).prepare = true
	}

	add("publish, 64 goroutines", []string{ownPubSub, bareTCP, goChannel},
		job{Work: publishing, Events: 192_000, Size: 256, InFlight: 64})
	add("subscribe", pubSubs, job{Work: subscribing, Events: 300_000, Size: 256})
	add("router", pubSubs, job{Work: routing, Events: 200_000, Size: 256})
	add("router, handlers of 1 ms, 256 keys", []string{ownSerial, ownLanes},
		job{Work: handling, Events: 8_000, Size: 256, Handler: time.Millisecond})
	return list
}

func bytesName(n int) string {
	if n >= 1<<10 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func sizeSuffix(n int) string {
	if n == 256 {
		return ""
	}
	return ", " + bytesName(n)
}

// sized fills in the defaults, and shrinks the work for a quick run.
func (s scenario) sized(quick bool) scenario {
	j := &s.job
	j.InFlight, j.Batch = max(j.InFlight, 1), max(j.Batch, 1)
	j.Streams, j.Subs = max(j.Streams, 1), max(j.Subs, 1)
	if quick {
		j.Events /= 10
	}
	// Whole batches, pages and subscriptions, the same number for each of those that work at a time.
	unit := max(j.Batch*j.InFlight, j.Subs)
	switch j.Work {
	case reading:
		unit = pageSize
	case persistent:
		unit = 1
	}
	j.WarmUp = max(j.Events/10/unit, 1) * unit
	j.Events = max(j.Events/unit, 1) * unit
	return s
}
