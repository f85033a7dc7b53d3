package eventlog

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Names in the events of projections.
const (
	categoryEvents    = "$ce-"
	typeEvents        = "$et-"
	typeCheckpoints   = "$et"
	correlationEvents = "$bc-"
	streamsStream     = "$streams"
	categoryStreams   = "$category-"

	streamReference = "$@" // the type of events that name a stream
	tombstoneType   = "$streamDeleted"
	deletedType     = "$deleted" // the type of tombstones and soft deletes for $et-
)

// emission is an event that a projection makes of another.
type emission struct {
	stream string
	typ    string
	data   string
	extra  string // members of the metadata: a comma before each
}

// standardProjection is a projection that every server has.
type standardProjection struct {
	name    string
	handler string
	query   string
	links   bool // it sees links
	source  func(query string) (s projectionSettings, problem string)
	emit    func(s *projectionSettings, r *Record) (e emission, ok bool)
}

// standardProjections returns the projections of a version, in the order of their registration.
func (f *Facts) standardProjections() []*standardProjection {
	const firstDash = "first\r\n-"
	list := []*standardProjection{
		{"$streams", "IndexStreams", "", true, noSource, emitStream},
		{"$stream_by_category", "CategorizeStreamByPath", firstDash, true, categorySource, emitCategoryStream},
		{"$by_category", "CategorizeEventsByStreamPath", firstDash, true, categorySource, emitCategoryEvent},
		{byEventType, "IndexEventsByEventType", "", false, noSource, emitTypeEvent},
	}
	if f.HasByCorrelation {
		list = append(list, &standardProjection{"$by_correlation_id", "ByCorrelationId",
			`{"correlationIdProperty":"$correlationId"}`, f.CorrelationSeesLinks, correlationSource, emitCorrelated})
	}
	return list
}

// byEventType is the projection that writes to $et when it has written a checkpoint.
const byEventType = "$by_event_type"

// LinkData returns the data of a link.
func LinkData(number int64, stream string) string {
	return strconv.FormatInt(number, 10) + "@" + stream
}

// linkTo returns the data of a link to an event. For a link it returns the link's own data.
func linkTo(r *Record) string {
	if r.Type == LinkType {
		return string(r.Data())
	}
	return LinkData(r.Number, r.Stream.Name)
}

func emitStream(_ *projectionSettings, r *Record) (emission, bool) {
	return emission{stream: streamsStream, typ: LinkType, data: LinkData(r.Number, r.Stream.Name)}, r.Number == 0
}

func emitCategoryStream(s *projectionSettings, r *Record) (emission, bool) {
	category, ok := s.categoryOf(r.Stream.Name)
	return emission{stream: categoryStreams + category, typ: streamReference, data: r.Stream.Name}, ok && r.Number == 0
}

func emitCategoryEvent(s *projectionSettings, r *Record) (emission, bool) {
	name := r.Stream.Name
	owner, deletes := deletedBy(r)
	if deletes {
		name = owner
	}
	category, ok := s.categoryOf(name)
	e := emission{stream: categoryEvents + category, typ: LinkType, data: linkTo(r), extra: `,"$o":` + quoted(name)}
	if deletes {
		e.extra += deletedMember
	}
	return e, ok
}

const deletedMember = `,"$deleted":-1`

// emitTypeEvent links to an event of a metadata stream as if it were in the stream itself, as servers do.
func emitTypeEvent(_ *projectionSettings, r *Record) (emission, bool) {
	owner, deletes := deletedBy(r)
	e := emission{stream: typeEvents + r.Type, typ: LinkType, data: LinkData(r.Number, owner)}
	if deletes {
		e.stream, e.extra = typeEvents+deletedType, deletedMember
	}
	return e, true
}

func emitCorrelated(s *projectionSettings, r *Record) (emission, bool) {
	id := stringMember(r.Metadata(), s.correlation)
	if id == "" {
		return emission{}, false
	}
	at := esproto.TicksToTime(r.Created).UTC().Format("2006-01-02T15:04:05.000000Z")
	e := emission{stream: correlationEvents + id, typ: LinkType, data: linkTo(r)}
	e.extra = `,"$eventTimestamp":"` + at + `"`
	if r.Type == LinkType {
		e.extra += `,"$link":{"eventId":"` + r.ID.String() + `","metadata":` + string(r.Metadata()) + `}`
	}
	return e, true
}

const correlationMember = "$correlationId"

// stringMember returns a member of a JSON object as text; an empty text without one.
func stringMember(metadata []byte, name string) string {
	if !bytes.Contains(metadata, []byte(name)) {
		return ""
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(metadata, &m) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(m[name], &text) == nil {
		return text
	}
	var n json.Number
	_ = json.Unmarshal(m[name], &n) // a value that is neither is ignored
	return n.String()
}

// deletedBy returns the stream that an event or its metadata belong to. deletes reports whether the event deletes that
// stream: it is a tombstone, or the metadata of a soft delete.
func deletedBy(r *Record) (owner string, deletes bool) {
	name := r.Stream.Name
	if !isMetastream(name) {
		return name, r.Type == tombstoneType
	}
	return name[2:], r.Type == MetadataType && parseMetadata(r).truncateBefore == esproto.DeletedStream
}

// quoted is a string in JSON.
func quoted(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string
			return string(b)
		}
	}
	return `"` + s + `"`
}

// tag is the origin of an emitted event, as its metadata say.
type tag struct {
	id, epoch, version int64 // of the projection
	at                 Position
}

// parseTag reads the metadata of an event. ok is false if no projection wrote the event.
func parseTag(metadata []byte) (t tag, ok bool) {
	var m struct {
		Version string `json:"$v"`
		Commit  *int64 `json:"$c"`
		Prepare *int64 `json:"$p"`
	}
	if json.Unmarshal(metadata, &m) != nil || m.Commit == nil || m.Prepare == nil {
		return tag{}, false
	}
	parts := strings.Split(m.Version, ":")
	if len(parts) < 3 {
		return tag{}, false
	}
	for i, v := range []*int64{&t.id, &t.epoch, &t.version} {
		n, err := strconv.ParseInt(parts[i], 10, 64)
		if err != nil {
			return tag{}, false
		}
		*v = n
	}
	t.at = Position{*m.Commit, *m.Prepare}
	return t, true
}
