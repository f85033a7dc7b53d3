package discovery

import "time"

// strikes counts the failed connections to endpoints. It is not safe for concurrent use.
type strikes struct {
	first, longest time.Duration // the time off after the first failure, and its limit
	by             map[Endpoint]strike
}

type strike struct {
	failures int
	until    time.Time
	instance string // the node's, if known: a restarted node has another, and begins without failures
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
		// An attempt that began before the last failure was known, or another client's, is the same failure.
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

// forget drops old entries, which bounds the map by the failures of a few seconds.
func (s *strikes) forget(now time.Time) {
	for e, x := range s.by {
		if now.Sub(x.until) > 2*s.longest {
			delete(s.by, e)
		}
	}
}

// held returns the reason not to dial e now; nil if there is none.
func (s *strikes) held(e Endpoint, instance string, now time.Time) *HeldOffError {
	x, ok := s.by[e]
	if !ok || restarted(x.instance, instance) || !now.Before(x.until) {
		return nil
	}
	return &HeldOffError{Failures: x.failures, For: x.until.Sub(now), Err: x.err}
}

// restarted compares the instances of a node at two times. An empty one is unknown.
func restarted(before, now string) bool { return before != "" && now != "" && before != now }
