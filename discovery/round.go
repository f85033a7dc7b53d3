package discovery

import (
	"slices"
	"time"
)

// round is the state of one attempt. Only the goroutine that called Next uses it.
type round struct {
	sources  []Endpoint              // seeds and learned members to ask
	direct   map[Endpoint]bool       // learned members that have answered before; see learned
	addrs    map[Endpoint][]Endpoint // of each source after its lookup; none if the lookup failed
	pending  map[Endpoint]int        // requests to an address that have not ended
	answered map[Endpoint]bool       // addresses that answered
	speakers map[Endpoint]bool       // nodes that answered, by their advertised endpoint
	members  []*seen
	failed   []*CandidateError

	testimonies []testimony // of the nodes that answered
}

// seen is the best description of a member so far.
type seen struct {
	Member
	own bool // it described itself
}

// event is a step of the asking.
type event struct {
	source Endpoint
	lookup bool // the lookup of the source's name has ended
	addrs  []Endpoint
	asking []Endpoint // the addresses that are asked for this source

	addr Endpoint // the address whose request has ended
	view *view
	err  error
}

func newRound(sources []Endpoint, direct map[Endpoint]bool) *round {
	return &round{
		sources:  sources,
		direct:   direct,
		addrs:    make(map[Endpoint][]Endpoint),
		pending:  make(map[Endpoint]int),
		answered: make(map[Endpoint]bool),
		speakers: make(map[Endpoint]bool),
	}
}

func (r *round) take(ev event) {
	if ev.lookup {
		r.addrs[ev.source] = ev.addrs
		for _, a := range ev.asking {
			r.pending[a]++
		}
		if ev.err != nil {
			r.failed = append(r.failed, &CandidateError{Step: StepLookup, Endpoint: ev.source, Err: ev.err})
		}
		return
	}
	r.pending[ev.addr]--
	if ev.err != nil {
		r.failed = append(r.failed, &CandidateError{Step: StepGossip, Endpoint: ev.addr, Err: ev.err})
		return
	}
	r.answered[ev.addr] = true
	if ev.view.self.Port != 0 {
		r.speakers[ev.view.self] = true
	}
	for _, m := range ev.view.members {
		own := m.HTTP.Port != 0 && (m.HTTP == ev.addr || m.HTTP == ev.source || m.HTTP == ev.view.self ||
			slices.Contains(r.addrs[m.HTTP], ev.addr))
		if own {
			r.testimonies = append(r.testimonies, testimony{Member: m, members: ev.view.members})
		}
		r.merge(&seen{Member: m, own: own})
	}
}

// merge keeps the better of two descriptions of a node: the node's own, else the later one. Servers merge gossip by
// the same rule, and also identify a node by its HTTP endpoint.
func (r *round) merge(m *seen) {
	i := slices.IndexFunc(r.members, func(o *seen) bool {
		if m.HTTP.Port != 0 || o.HTTP.Port != 0 {
			return m.HTTP == o.HTTP
		}
		return m.TCP == o.TCP && m.InstanceID == o.InstanceID
	})
	switch {
	case i < 0:
		r.members = append(r.members, m)
	case m.own && !r.members[i].own, m.own == r.members[i].own && m.TimeStamp.After(r.members[i].TimeStamp):
		r.members[i] = m
	}
}

// standing is the progress of a request to a node in this round.
type standing int

const (
	notAsked standing = iota
	asked
	answered
	silent // it did not answer
)

// standing returns that of the node with this HTTP endpoint. A request to another address of the node does not count.
func (r *round) standing(http Endpoint) standing {
	if r.answered[http] {
		return answered
	}
	if r.pending[http] > 0 {
		return asked
	}
	addrs, looked := r.addrs[http]
	if !looked {
		if slices.Contains(r.sources, http) {
			return asked
		}
		return notAsked
	}
	result := silent
	for _, a := range addrs {
		if r.answered[a] {
			return answered
		}
		if r.pending[a] > 0 {
			result = asked
		}
	}
	return result
}

// unanimous reports whether all nodes that are listed as alive have answered, are a majority of the cluster, and no
// other answer is expected. Then no later answer can change the choice. The majority matters because an isolated node
// lists the others as dead.
func (r *round) unanimous() bool {
	own := 0
	for _, m := range r.members {
		switch {
		case m.own:
			own++
		case m.Alive, r.standing(m.HTTP) == asked:
			return false
		}
	}
	return own > len(r.members)/2
}

// awaits reports whether to wait for m's own answer: it has answered before. If it stays silent it is probably dead,
// and a dial would take longer than this wait.
func (r *round) awaits(m Member) bool {
	return r.direct[m.HTTP] && !r.speakers[m.HTTP] && r.standing(m.HTTP) == asked
}

// doubts reports evidence against the description of m: it has answered before and is silent now, it is listed as
// leader although a later leader is known, or the leader has lost it.
func (r *round) doubts(m, leader *seen) bool {
	if r.direct[m.HTTP] && !r.speakers[m.HTTP] && r.standing(m.HTTP) == silent {
		return true
	}
	if m.State == StateLeader && m != leader {
		return true
	}
	latest := r.latestLeader()
	return latest != nil && m.HTTP.Port != 0 && latest.denies(func(o Member) bool { return o.HTTP == m.HTTP })
}

// leader returns the listed leader with the latest epoch; nil if there is none. A leader that lost its cluster calls
// itself leader for some time, with an earlier epoch than its successor.
func (r *round) leader() *seen {
	var latest *seen
	for _, m := range r.members {
		if !m.Alive || m.State != StateLeader {
			continue
		}
		if latest == nil || m.EpochNumber > latest.EpochNumber ||
			m.EpochNumber == latest.EpochNumber && m.TimeStamp.After(latest.TimeStamp) {
			latest = m
		}
	}
	return latest
}

// usable returns the members that can be dialed, unordered, and the reasons against the others.
func (r *round) usable() (list []choice, rejected []*CandidateError) {
	leader := r.leader()
	for _, m := range r.members {
		var err error
		switch {
		case !m.Alive:
			err = ErrNotAlive
		case !m.State.Serves():
			err = &StateError{State: m.State}
		case m.TCP.Port == 0:
			err = ErrNoTCPEndpoint
		default:
			list = append(list, choice{Member: m.Member, doubtful: r.doubts(m, leader)})
			continue
		}
		rejected = append(rejected, memberError(m.Member, err))
	}
	return list, rejected
}

func memberError(m Member, err error) *CandidateError {
	e := m.TCP
	if e.Port == 0 && m.HTTP.Port != 0 {
		e = m.HTTP
	}
	return &CandidateError{Step: StepMember, Endpoint: e, Err: err}
}

// choose returns the best member to dial so far, or an error with the reasons why there is none.
func (g *Gossip) choose(r *round) (Member, *Error) {
	choices, rejected := r.usable()
	g.cfg.Preference.order(choices)
	list := make([]Member, len(choices))
	for i, c := range choices {
		list[i] = c.Member
	}
	if g.cfg.Select != nil && len(list) > 0 {
		var out []*CandidateError
		list, out = g.selected(list)
		rejected = append(rejected, out...)
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var retryAfter time.Duration
	for _, m := range list {
		held := g.strikes.held(m.TCP, m.InstanceID, now)
		if held == nil {
			return m, nil
		}
		if retryAfter == 0 || held.For < retryAfter {
			retryAfter = held.For
		}
		rejected = append(rejected, memberError(m, held))
	}
	return Member{}, &Error{Reasons: append(slices.Clone(r.failed), rejected...), RetryAfter: retryAfter}
}

// selected calls the user's function. It checks the result, because the function may have changed the members.
func (g *Gossip) selected(list []Member) (chosen []Member, rejected []*CandidateError) {
	given := slices.Clone(list)
	for _, m := range g.cfg.Select(list) {
		if m.TCP.Port == 0 || m.TCP.Validate() != nil {
			rejected = append(rejected, memberError(m, ErrNoTCPEndpoint))
			continue
		}
		chosen = append(chosen, m)
	}
	for _, m := range given {
		if !slices.ContainsFunc(chosen, func(c Member) bool { return c.TCP == m.TCP }) {
			rejected = append(rejected, memberError(m, ErrNotSelected))
		}
	}
	return chosen, rejected
}
