package esprom

import (
	"maps"
	"sync"
	"sync/atomic"
)

// series keeps the series of a metric by their labels, so that to find one takes no lock and allocates nothing. They
// are few and are never removed.
type series[K comparable, M any] struct {
	known atomic.Pointer[map[K]M]
	mu    sync.Mutex
	add   func(K) M // makes the series of labels that are new
}

func newSeries[K comparable, M any](add func(K) M) *series[K, M] {
	s := &series[K, M]{add: add}
	s.known.Store(new(map[K]M))
	return s
}

func (s *series[K, M]) of(labels K) M {
	if m, ok := (*s.known.Load())[labels]; ok {
		return m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.known.Load()
	if m, ok := known[labels]; ok {
		return m
	}
	more := make(map[K]M, len(known)+1)
	maps.Copy(more, known)
	m := s.add(labels)
	more[labels] = m
	s.known.Store(&more)
	return m
}
