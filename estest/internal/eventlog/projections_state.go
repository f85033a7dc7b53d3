package eventlog

import (
	"encoding/json"
	"math"
	"slices"
)

const (
	registrationStream = "$projections-$all"
	// ProjectionStream is the prefix of the streams of a projection.
	ProjectionStream = "$projections-"

	projectionsInitialized = "$ProjectionsInitialized"
	projectionCreated      = "$ProjectionCreated"
	projectionDeleted      = "$ProjectionDeleted"
	projectionUpdated      = "$ProjectionUpdated"
)

// The modes of projections.
const (
	ModeContinuous = "Continuous"      // goes on with new events
	ModeOneTime    = "OneTime"         // ends at the end of the log
	ModeTransient  = "Transient"       // ends at the end of the log
	ModesKept      = "AllNonTransient" // stands for all that are in the log
)

// ProjectionState is the state of a projection. The server writes it whenever it changes.
type ProjectionState struct {
	HandlerType                       string            `json:"handlerType"`
	Query                             string            `json:"query"`
	Mode                              string            `json:"mode"`
	Enabled                           bool              `json:"enabled,omitempty"`
	Deleted                           bool              `json:"deleted,omitempty"`
	SourceDefinition                  *ProjectionSource `json:"sourceDefinition,omitempty"`
	EmitEnabled                       bool              `json:"emitEnabled"`
	CheckpointsDisabled               bool              `json:"checkpointsDisabled"`
	TrackEmittedStreams               bool              `json:"trackEmittedStreams"`
	Epoch                             int64             `json:"epoch"`   // the version that was reset last
	Version                           int64             `json:"version"` // the number of the event that has it
	RunAs                             RunAs             `json:"runAs"`
	CheckpointHandledThreshold        int               `json:"checkpointHandledThreshold,omitempty"`
	CheckpointAfterMs                 int               `json:"checkpointAfterMs,omitempty"`
	CheckpointUnhandledBytesThreshold int64             `json:"checkpointUnhandledBytesThreshold,omitempty"`
	PendingEventsThreshold            int               `json:"pendingEventsThreshold,omitempty"`
	MaxWriteBatchLength               int               `json:"maxWriteBatchLength,omitempty"`
	MaxAllowedWritesInFlight          int               `json:"maxAllowedWritesInFlight,omitempty"`
	SubsystemVersion                  int64             `json:"projectionSubsystemVersion,omitempty"` // from 20.6 on
}

// RunAs tells whose rights a projection has.
type RunAs struct {
	Name string `json:"name"`
}

// ProjectionSource says which events a projection reads.
type ProjectionSource struct {
	AllEvents  bool              `json:"allEvents,omitempty"`
	AllStreams bool              `json:"allStreams,omitempty"`
	Categories []string          `json:"categories"`
	Events     []string          `json:"events"`
	Streams    []string          `json:"streams"`
	Options    ProjectionOptions `json:"options"`
}

// ProjectionOptions are options of a ProjectionSource.
type ProjectionOptions struct {
	IncludeLinks bool `json:"includeLinks,omitempty"`
}

// stateOf returns the first state of a standard projection.
func (f *Facts) stateOf(std *standardProjection) ProjectionState {
	s := f.newProjectionState("native:EventStore.Projections.Core.Standard."+std.handler, std.query)
	s.EmitEnabled = true
	s.SourceDefinition = &ProjectionSource{
		AllEvents: true, AllStreams: true, Categories: []string{}, Events: []string{}, Streams: []string{},
		Options: ProjectionOptions{IncludeLinks: std.links},
	}
	return s
}

// NewState returns the first state of a projection, with the defaults of the server.
func (p *Projector) NewState(handler, query string) ProjectionState {
	return p.log.facts.newProjectionState(handler, query)
}

func (f *Facts) newProjectionState(handler, query string) ProjectionState {
	return ProjectionState{
		HandlerType: handler, Query: query, Mode: ModeContinuous, Epoch: -1, Version: -1,
		RunAs: RunAs{Name: "$system"}, CheckpointHandledThreshold: 4000, CheckpointUnhandledBytesThreshold: 10_000_000,
		PendingEventsThreshold: 5000, MaxWriteBatchLength: 500, SubsystemVersion: f.ProjectionsSubsystem,
	}
}

// Save writes the next version of a projection's state. It reports whether it could.
func (pr *Projection) Save() bool {
	if pr.State.Mode == ModeTransient {
		pr.State.Version++
		return true
	}
	s := pr.log.streamFor(ProjectionStream + pr.Name)
	if s.HardDeleted() {
		return false
	}
	pr.State.Version = s.Last() + 1
	data, _ := json.MarshalIndent(&pr.State, "", "  ") // has nothing that cannot be marshaled
	pr.log.SystemWrite(s.Name, projectionUpdated, true, data, nil)
	return true
}

// load reads the state of a projection from the log.
func (pr *Projection) load() {
	pr.status = statusStopped
	s := pr.log.Stream(ProjectionStream + pr.Name)
	if s == nil || s.HardDeleted() || s.SoftDeleted() || s.Last() < 0 {
		return
	}
	r := s.At(s.Last())
	if json.Unmarshal(r.Data(), &pr.State) == nil {
		pr.State.Version = r.Number
	}
	pr.checkpoint = pr.loadCheckpoint()
	pr.at = pr.checkpoint
}

// register lists the projections in the log, and adds the standard ones that are missing.
func (p *Projector) register() {
	l := p.log
	s := l.streamFor(registrationStream)
	if s.HardDeleted() {
		return // servers start none then
	}
	if s.Last() < 0 {
		l.SystemWrite(registrationStream, projectionsInitialized, false, nil, nil)
	}
	for _, r := range s.events.From(0) {
		p.readRegistration(r)
	}
	var added []*Projection
	for _, std := range l.facts.standardProjections() {
		pr := p.Find(std.name)
		if pr == nil {
			r := l.SystemAppend(registrationStream, projectionCreated, false, []byte(std.name), nil)
			pr = p.readRegistration(r)
			pr.State = l.facts.stateOf(std)
			added = append(added, pr)
		}
		pr.standard = std
	}
	for _, pr := range added {
		pr.Save()
	}
}

// readRegistration adds or removes a projection, as an event says. It returns a projection that it adds.
func (p *Projector) readRegistration(r *Record) *Projection {
	name := string(r.Data())
	switch pr := p.Find(name); {
	case name == "":
	case r.Type == projectionCreated && pr != nil:
		pr.id = r.Number
	case r.Type == projectionCreated:
		pr = &Projection{projector: p, log: p.log, Name: name, id: r.Number, status: statusStopped}
		if pr.id == 0 {
			pr.id = math.MaxInt32 - 1
		}
		pr.load()
		p.list = append(p.list, pr)
		return pr
	case r.Type == projectionDeleted && pr != nil:
		p.list = slices.DeleteFunc(p.list, func(o *Projection) bool { return o == pr })
	}
	return nil
}
