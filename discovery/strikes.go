package discovery

import "time"

// strikes remembers which endpoints could not be connected to. It is not safe for concurrent use.
type strikes struct {
	first, longest time.Duration // how long an endpoint is held off after its first failure, and at most
	by             map[Endpoint]strike
}

type strike struct {
	failures int
	until    time.Time
	instance string // of the node, where known: a restarted node has another, and a clean slate
	err      error
}

func newStrikes(first, longest time.Duration) strikes {
	return strikes{first: first, longest: longest, by: make(map[Endpoint]strike)}
}

func (s *strikes) add(e Endpoint, instance string, err error, now time.Time) {
	s.forget(now)
	old, known := s.by[e]
	switch {
	case !known || restarted(old.instance, instance):
		old = strike{}
	case now.Before(old.until):
		// An attempt that began before the last failure was known, or another client's, tells nothing new.
		return
	}
	n := old.failures + 1
	if transient(err) {
		n = 1
	}
	hold := s.longest
	if n < 32 && s.first<<(n-1) < s.longest && s.first<<(n-1) > 0 {
		hold = s.first << (n - 1)
	}
	s.by[e] = strike{failures: n, until: now.Add(hold), instance: instance, err: err}
}

func (s *strikes) clear(e Endpoint) { delete(s.by, e) }

// forget drops what is old, which bounds the map by the failures of a few seconds.
func (s *strikes) forget(now time.Time) {
	for e, x := range s.by {
		if now.Sub(x.until) > 2*s.longest {
			delete(s.by, e)
		}
	}
}

// held says why e must not be dialed now; nil if it may be.
func (s *strikes) held(e Endpoint, instance string, now time.Time) *HeldOffError {
	x, ok := s.by[e]
	if !ok || restarted(x.instance, instance) || !now.Before(x.until) {
		return nil
	}
	return &HeldOffError{Failures: x.failures, For: x.until.Sub(now), Err: x.err}
}

// restarted compares the instances of a node at two times; an empty one is not known.
func restarted(before, now string) bool { return before != "" && now != "" && before != now }
