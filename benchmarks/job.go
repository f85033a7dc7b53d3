package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
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

	joining  = "join"  // Subscribe, each to a topic of its own
	sharing  = "share" // messages that are published when all topics are subscribed to
	churning = "churn" // a subscription, a message, and the end of the subscription, over and over
)

// job is the work of a worker process: one measurement of one contender.
type job struct {
	Contender string
	Work      string
	URL       string            // of the server: tcp://user:password@host:port
	Stream    string            // stream to write or read; the prefix of their names if there are several
	After     esclient.Position // start of the events in $all, for contenders that catch up with several streams
	Group     string            // to make, for persistent subscriptions
	WarmUp    int               // events to write or receive before the measurement
	Events    int               // to write or to receive, by all subscriptions together
	Size      int               // of an event's data, in bytes
	InFlight  int               // appends, reads or Publish calls at a time, or events not acked
	Batch     int               // events in one append, or to be read from one of several streams
	Streams   int               // that the events are spread over
	Subs      int               // subscriptions on the one connection to the one stream
	Handler   time.Duration     // time in the handler of a message
	Existing  bool              // the server has the groups, one for each stream, from the beginning
}

// sized fills in the defaults and the warm-up, and shrinks the work for a quick run.
func (j job) sized(quick bool) job {
	j.InFlight, j.Batch = max(j.InFlight, 1), max(j.Batch, 1)
	j.Streams, j.Subs = max(j.Streams, 1), max(j.Subs, 1)
	if quick {
		j.Events /= 10
	}
	unit := j.unit()
	j.WarmUp = max(j.Events/10/unit, 1) * unit
	j.Events = max(j.Events/unit, 1) * unit
	switch {
	case j.Work == reading && j.Streams > 1:
		j.Streams = j.total() / j.Batch // each is read once
	case j.Work == joining:
		j.Streams = j.total()
	}
	return j
}

// unit divides every number of events of a job, so that batches and pages are full and each worker gets the same
// number.
func (j *job) unit() int {
	switch {
	case slices.Contains([]string{persistent, joining, churning}, j.Work):
		return 1
	case slices.Contains([]string{reading, catchingUp}, j.Work) && j.Streams == 1 && j.Subs == 1:
		return pageSize
	case slices.Contains([]string{appending, reading, publishing}, j.Work):
		return j.InFlight * j.Batch
	}
	return j.Streams * j.Subs
}

// total is how many events are written or received, the warm-up included.
func (j *job) total() int { return j.WarmUp + j.Events }

// fanOut is how many subscriptions get each event. Those of a group share them.
func (j *job) fanOut() int {
	if j.Work == persistent {
		return 1
	}
	return j.Subs
}

// prepared tells that the events are written before the contenders begin.
func (j *job) prepared() bool {
	return slices.Contains([]string{reading, catchingUp, persistent}, j.Work)
}

// pushed tells that events are written once the contender has subscribed.
func (j *job) pushed() bool { return j.Work == volatile || j.Work == sharing }

// streams names the streams, all with names of one length.
func (j *job) streams() []string {
	if j.Streams == 1 {
		return []string{j.Stream}
	}
	names := make([]string, j.Streams)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%05d", j.Stream, i)
	}
	return names
}

// payload returns the data of an event: letters, since no contender compresses.
func (j *job) payload() []byte {
	b := make([]byte, j.Size)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}
