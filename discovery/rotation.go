package discovery

import (
	"context"
	"errors"
	"sync"
	"time"
)

// rotation hands out endpoints in turn, those last that failed a short time ago. It is safe for concurrent use.
type rotation struct {
	mu      sync.Mutex
	strikes strikes
	turn    uint64
	last    map[Endpoint]uint64 // the turn in which an endpoint was handed out
}

func newRotation() *rotation {
	return &rotation{strikes: newStrikes(DefaultHoldOff, DefaultMaxHoldOff), last: make(map[Endpoint]uint64)}
}

// pick returns the endpoint whose turn is longest ago, the first in the list among equals; or, if the order of the list
// counts, the first. That is among those that are not held off. If all are, it is the one whose turn is longest ago:
// with nobody to ask whether a node is alive, dialing it is the only way to find out.
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
	if len(r.last) > 2*len(list) { // what DNS answers changes over time
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
