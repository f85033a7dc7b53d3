package estest

import (
	"encoding/json"
	"math"
	"slices"
)

const (
	registrationStream = "$projections-$all"
	projectionStream   = "$projections-" // what the streams of a projection begin with

	projectionsInitialized = "$ProjectionsInitialized"
	projectionCreated      = "$ProjectionCreated"
	projectionDeleted      = "$ProjectionDeleted"
	projectionUpdated      = "$ProjectionUpdated"
)

// The modes of projections.
const (
	modeContinuous = "Continuous"
	modeOneTime    = "OneTime"
	modeTransient  = "Transient" // not in the log
	modesKept      = "AllNonTransient"
)

// projectionState is what the server writes of a projection whenever that changes.
type projectionState struct {
	HandlerType                       string            `json:"handlerType"`
	Query                             string            `json:"query"`
	Mode                              string            `json:"mode"`
	Enabled                           bool              `json:"enabled,omitempty"`
	Deleted                           bool              `json:"deleted,omitempty"`
	SourceDefinition                  *projectionSource `json:"sourceDefinition,omitempty"`
	EmitEnabled                       bool              `json:"emitEnabled"`
	CheckpointsDisabled               bool              `json:"checkpointsDisabled"`
	TrackEmittedStreams               bool              `json:"trackEmittedStreams"`
	Epoch                             int64             `json:"epoch"`   // the version that was reset last
	Version                           int64             `json:"version"` // the number of the event that has it
	RunAs                             runAs             `json:"runAs"`
	CheckpointHandledThreshold        int               `json:"checkpointHandledThreshold,omitempty"`
	CheckpointAfterMs                 int               `json:"checkpointAfterMs,omitempty"`
	CheckpointUnhandledBytesThreshold int64             `json:"checkpointUnhandledBytesThreshold,omitempty"`
	PendingEventsThreshold            int               `json:"pendingEventsThreshold,omitempty"`
	MaxWriteBatchLength               int               `json:"maxWriteBatchLength,omitempty"`
	MaxAllowedWritesInFlight          int               `json:"maxAllowedWritesInFlight,omitempty"`
	SubsystemVersion                  int64             `json:"projectionSubsystemVersion,omitempty"` // from 20.6 on
}

type runAs struct {
	Name string `json:"name"`
}

// projectionSource is what a projection reads.
type projectionSource struct {
	AllEvents  bool              `json:"allEvents,omitempty"`
	AllStreams bool              `json:"allStreams,omitempty"`
	Categories []string          `json:"categories"`
	Events     []string          `json:"events"`
	Streams    []string          `json:"streams"`
	Options    projectionOptions `json:"options"`
}

type projectionOptions struct {
	IncludeLinks bool `json:"includeLinks,omitempty"`
}

// stateOf is what a standard projection has at first.
func (f *logFacts) stateOf(std *standardProjection) projectionState {
	s := f.newProjectionState("native:EventStore.Projections.Core.Standard."+std.handler, std.query)
	s.EmitEnabled = true
	s.SourceDefinition = &projectionSource{
		AllEvents: true, AllStreams: true, Categories: []string{}, Events: []string{}, Streams: []string{},
		Options: projectionOptions{IncludeLinks: std.links},
	}
	return s
}

// newState is what a projection has at first if nobody says otherwise.
func (p *projector) newState(handler, query string) projectionState {
	return p.log.facts.newProjectionState(handler, query)
}

func (f *logFacts) newProjectionState(handler, query string) projectionState {
	return projectionState{
		HandlerType: handler, Query: query, Mode: modeContinuous, Epoch: -1, Version: -1,
		RunAs: runAs{Name: "$system"}, CheckpointHandledThreshold: 4000, CheckpointUnhandledBytesThreshold: 10_000_000,
		PendingEventsThreshold: 5000, MaxWriteBatchLength: 500, SubsystemVersion: f.ProjectionsSubsystem,
	}
}

// save writes the next version of a projection's state. It reports whether it could.
func (pr *projection) save() bool {
	if pr.state.Mode == modeTransient {
		pr.state.Version++
		return true
	}
	s := pr.log.streamFor(projectionStream + pr.name)
	if s.hardDeleted() {
		return false
	}
	pr.state.Version = s.last() + 1
	data, _ := json.MarshalIndent(&pr.state, "", "  ") // has nothing that cannot be marshaled
	pr.log.systemWrite(s.name, projectionUpdated, true, data, nil)
	return true
}

// load reads the state of a projection that the log has.
func (pr *projection) load() {
	pr.status = statusStopped
	s := pr.log.stream(projectionStream + pr.name)
	if s == nil || s.hardDeleted() || s.softDeleted() || s.last() < 0 {
		return
	}
	r := s.at(s.last())
	if json.Unmarshal(r.data, &pr.state) == nil {
		pr.state.Version = r.number
	}
	pr.checkpoint = pr.loadCheckpoint()
	pr.at = pr.checkpoint
}

// register lists the projections that the log has, and adds the standard ones that it lacks.
func (p *projector) register() {
	l := p.log
	s := l.streamFor(registrationStream)
	if s.hardDeleted() {
		return // servers start none then
	}
	if s.last() < 0 {
		l.systemWrite(registrationStream, projectionsInitialized, false, nil, nil)
	}
	for _, r := range s.events {
		p.readRegistration(r)
	}
	var added []*projection
	for _, std := range l.facts.standardProjections() {
		pr := p.find(std.name)
		if pr == nil {
			r := l.systemAppend(registrationStream, projectionCreated, false, []byte(std.name), nil)
			pr = p.readRegistration(r)
			pr.state = l.facts.stateOf(std)
			added = append(added, pr)
		}
		pr.standard = std
	}
	for _, pr := range added {
		pr.save()
	}
}

// readRegistration notes the projection that an event registers, which it returns, or removes.
func (p *projector) readRegistration(r *record) *projection {
	name := string(r.data)
	switch pr := p.find(name); {
	case name == "":
	case r.typ == projectionCreated && pr != nil:
		pr.id = r.number
	case r.typ == projectionCreated:
		pr = &projection{projector: p, log: p.log, name: name, id: r.number, status: statusStopped}
		if pr.id == 0 {
			pr.id = math.MaxInt32 - 1
		}
		pr.load()
		p.list = append(p.list, pr)
		return pr
	case r.typ == projectionDeleted && pr != nil:
		p.list = slices.DeleteFunc(p.list, func(o *projection) bool { return o == pr })
	}
	return nil
}
