package groups

import "slices"

// Names of the strategies.
const (
	RoundRobin          = "RoundRobin"
	DispatchToSingle    = "DispatchToSingle"
	Pinned              = "Pinned"
	PinnedByCorrelation = "PinnedByCorrelation"
)

// strategy chooses the client that gets a message. It delivers nothing.
type strategy interface {
	// pick returns the client that gets m, and counts m as delivered to it; or nil and why no client gets m.
	pick(m *message) (*Client, hindrance)
	settled(c *Client, m *message) // c has m no more
	join(c *Client)
	leave(c *Client)
}

// hindrance is why no client gets a message.
type hindrance int

const (
	ownerIsFull hindrance = iota // no other client may get it; others may get other messages
	allAreFull                   // no client can get any message
)

func (f *Facts) knownStrategy(name string) bool {
	return name == RoundRobin || name == DispatchToSingle || name == Pinned ||
		name == PinnedByCorrelation && f.HasPinnedByCorrelation
}

// StrategyName returns name, or the server's default if name is empty.
func StrategyName(name string, preferRoundRobin bool) string {
	switch {
	case name != "":
		return name
	case preferRoundRobin:
		return RoundRobin
	}
	return DispatchToSingle
}

func newStrategy(name string) strategy {
	switch name {
	case DispatchToSingle:
		return &dispatchToSingle{}
	case Pinned:
		return &pinned{key: (*message).source}
	case PinnedByCorrelation:
		return &pinned{key: (*message).correlation}
	}
	return &roundRobin{}
}

// roundRobin asks the client at the head of the line, which then goes to the end whether it gets the message or not.
type roundRobin struct{ line []*Client }

func (s *roundRobin) pick(*message) (*Client, hindrance) {
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

func (s *roundRobin) settled(*Client, *message) {}
func (s *roundRobin) join(c *Client)            { s.line = append(s.line, c) }
func (s *roundRobin) leave(c *Client)           { s.line = without(s.line, c) }

// dispatchToSingle stays with the client at the head of the line until that is full.
type dispatchToSingle struct{ line []*Client }

func (s *dispatchToSingle) pick(*message) (*Client, hindrance) {
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

func (s *dispatchToSingle) settled(*Client, *message) {}
func (s *dispatchToSingle) join(c *Client)            { s.line = append(s.line, c) }
func (s *dispatchToSingle) leave(c *Client)           { s.line = without(s.line, c) }

func without(line []*Client, c *Client) []*Client {
	return slices.DeleteFunc(line, func(o *Client) bool { return o == c })
}
