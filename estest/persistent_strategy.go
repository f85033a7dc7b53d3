package estest

import "slices"

// Names of the strategies.
const (
	roundRobinName       = "RoundRobin"
	dispatchToSingleName = "DispatchToSingle"
	pinnedName           = "Pinned"
	pinnedByCorrelName   = "PinnedByCorrelation"
)

// strategy chooses which client gets a message. It sends nothing.
type strategy interface {
	// pick returns the client that gets m, which the strategy then counts as given; or nil and why nobody gets it.
	pick(m *message) (*client, hindrance)
	settled(c *client, m *message) // c does not have m any more
	join(c *client)
	leave(c *client)
}

// hindrance is why no client gets a message.
type hindrance int

const (
	ownerIsFull hindrance = iota // no other client may get it; others may get other messages
	allAreFull                   // nobody can get any message
)

func (f *groupFacts) knownStrategy(name string) bool {
	return name == roundRobinName || name == dispatchToSingleName || name == pinnedName ||
		name == pinnedByCorrelName && f.HasPinnedByCorrelation
}

// strategyName is the name of a strategy that may be left open.
func strategyName(name string, preferRoundRobin bool) string {
	switch {
	case name != "":
		return name
	case preferRoundRobin:
		return roundRobinName
	}
	return dispatchToSingleName
}

func newStrategy(name string) strategy {
	switch name {
	case dispatchToSingleName:
		return &dispatchToSingle{}
	case pinnedName:
		return &pinned{key: (*message).source}
	case pinnedByCorrelName:
		return &pinned{key: (*message).correlation}
	}
	return &roundRobin{}
}

// roundRobin tries the head of the line, which then goes to its end whether it gets the message or not.
type roundRobin struct{ line []*client }

func (s *roundRobin) pick(*message) (*client, hindrance) {
	for range s.line {
		c := s.line[0]
		copy(s.line, s.line[1:])
		s.line[len(s.line)-1] = c
		if c.Free() > 0 {
			return c, 0
		}
	}
	return nil, allAreFull
}

func (s *roundRobin) settled(*client, *message) {}
func (s *roundRobin) join(c *client)            { s.line = append(s.line, c) }
func (s *roundRobin) leave(c *client)           { s.line = without(s.line, c) }

// dispatchToSingle stays with the head of the line until that is full.
type dispatchToSingle struct{ line []*client }

func (s *dispatchToSingle) pick(*message) (*client, hindrance) {
	for range s.line {
		c := s.line[0]
		if c.Free() > 0 {
			return c, 0
		}
		copy(s.line, s.line[1:])
		s.line[len(s.line)-1] = c
	}
	return nil, allAreFull
}

func (s *dispatchToSingle) settled(*client, *message) {}
func (s *dispatchToSingle) join(c *client)            { s.line = append(s.line, c) }
func (s *dispatchToSingle) leave(c *client)           { s.line = without(s.line, c) }

func without(line []*client, c *client) []*client {
	return slices.DeleteFunc(line, func(o *client) bool { return o == c })
}
