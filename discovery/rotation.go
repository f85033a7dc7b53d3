package discovery

import (
	"context"
	"errors"
	"sync"
	"time"
)

// rotation returns endpoints in turn. Endpoints that failed a short time ago come last. It is safe for concurrent use.
type rotation struct {
	mu      sync.Mutex
	strikes strikes
	turn    uint64
	last    map[Endpoint]uint64 // an endpoint's last turn
}

func newRotation() *rotation {
	return &rotation{strikes: newStrikes(DefaultHoldOff, DefaultMaxHoldOff), last: make(map[Endpoint]uint64)}
}

// pick returns the endpoint whose last turn is the oldest, the first in the list among equals; or, if the order of the
// list counts, the first. It leaves out held-off endpoints. If all are held off, it returns the one whose last turn is
// the oldest: without gossip, only a dial shows whether a node is alive.
func (r *rotation) pick(list []Endpoint, ordered bool) Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	best, bestHeld := list[0], r.strikes.held(list[0], "", now) != nil
	for _, e := range list[1:] {
		held := r.strikes.held(e, "", now) != nil
		if bestHeld && !held || bestHeld == held && (held || !ordered) && r.last[e] < r.last[best] {
			best, bestHeld = e, held
		}
	}
	if len(r.last) > 2*len(list) { // DNS answers change over time
		last := make(map[Endpoint]uint64, len(list))
		for _, e := range list {
			last[e] = r.last[e]
		}
		r.last = last
	}
	r.turn++
	r.last[best] = r.turn
	return best
}

func (r *rotation) report(e Endpoint, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.strikes.clear(e)
		return
	}
	r.strikes.add(e, "", err, time.Now())
}
