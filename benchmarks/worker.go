package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// note is a message from a worker, or the server, to the leader: one JSON value a line.
type note struct {
	Seen   int     `json:",omitempty"` // how many events have come; 0 when the worker has subscribed
	URL    string  `json:",omitempty"` // of the server
	Result *result `json:",omitempty"`
}

// contender does a job: it connects, does the work, as meter demands it, and cleans up.
type contender func(ctx context.Context, j job, m *meter) (result, error)

var contenders = map[string]contender{
	esClient:  overClient(openESClient),
	esSource:  workSource,
	gesClient: overClient(openGesClient),
	rawFrames: workRaw,

	ownPubSub:  overPubSub(openOwn(eventstore.ModePersistent)),
	ownCatchUp: overPubSub(openOwn(eventstore.ModeCatchUp)),
	ownSerial:  overPubSub(openOwn(eventstore.ModePersistent)),
	ownLanes:   overPubSub(openOwn(eventstore.ModePersistent)),
	ownDefault: overPubSub(openOwn(eventstore.ModePersistent)),
	bareTCP:    overPubSub(openRelay),
	goChannel:  overPubSub(openGoChannel),

	jetStream:    overPubSub(openJetStream),
	redisStreams: overPubSub(openRedis),
}

// work reads its job from in, does it, and writes the measurement to out.
func work(ctx context.Context, in io.Reader, out io.Writer) error {
	var j job
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	do, ok := contenders[j.Contender]
	if !ok {
		return fmt.Errorf("no contender %q", j.Contender)
	}
	// The leader that goes away takes its workers with it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		cancel(errors.New("the leader of the run is gone"))
	}()

	enc := json.NewEncoder(out)
	var mu sync.Mutex
	m := &meter{tell: func(seen int) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(note{Seen: seen}) // without a leader ctx ends
	}}
	if m.profile, err = profileFile(); err != nil {
		return err
	}
	r, err := do(ctx, j, m)
	m.profile.Close() // nil, or no longer written to
	if err != nil {
		return err
	}
	r.Events, r.Bytes = j.Events, int64(j.Events)*int64(j.Size)
	return enc.Encode(note{Result: &r})
}
