package estest

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// WithProjections has the server run the system projections, which write links as events are written: $ce-<category>,
// to the events of streams by what stands before the first - in their name; $et-<type>, to events by their type, the
// server's own included; $streams, to the first event of each stream; and $category-<category>, which has the names of
// streams. A real server does so a moment later, and writes checkpoints as well. Only administrators may read such a
// stream until it has its first link; with that comes metadata by which every user may. The default is none, as it is
// of servers.
func WithProjections() Option { return func(c *config) { c.projections = true } }

// What projections write.
const (
	categoryEvents  = "$ce-"
	typeEvents      = "$et-"
	streamsStream   = "$streams"
	categoryStreams = "$category-"

	streamReference = "$@" // the type of events that name a stream
	tombstoneType   = "$streamDeleted"
	deletedType     = "$deleted" // what $et- takes tombstones and soft deletes for
)

// emission is an event that a projection makes of another.
type emission struct {
	stream   string
	typ      string
	data     string
	metadata linkMetadata
}

// linkMetadata says where an emission comes from.
type linkMetadata struct {
	Version  string `json:"$v"` // of the projection
	Commit   int64  `json:"$c"`
	Prepare  int64  `json:"$p"`
	Original string `json:"$o,omitempty"` // the stream by which it was categorised
	Deleted  int    `json:"$deleted,omitempty"`
	CausedBy string `json:"$causedBy"`
}

// emissions lists what the projections make of an event.
func emissions(r *record) []emission {
	origin := linkMetadata{Version: "1:-1:1:4", Commit: r.commit, Prepare: r.prepare, CausedBy: r.id.String()}
	name, number := r.stream.name, strconv.FormatInt(r.number, 10)
	subject, deletes := deletedBy(r)
	var list []emission
	if category, ok := categoryOf(subject); ok {
		m := origin
		m.Original = subject
		if deletes {
			m.Deleted = -1
		}
		link := number + "@" + name
		if r.typ == linkType {
			link = string(r.data)
		}
		list = append(list, emission{categoryEvents + category, linkType, link, m})
	}
	if deletes {
		m := origin
		m.Deleted = -1
		list = append(list, emission{typeEvents + deletedType, linkType, number + "@" + subject, m})
	} else if r.typ != linkType {
		list = append(list, emission{typeEvents + r.typ, linkType, number + "@" + name, origin})
	}
	if r.number == 0 {
		list = append(list, emission{streamsStream, linkType, number + "@" + name, origin})
		if category, ok := categoryOf(name); ok {
			list = append(list, emission{categoryStreams + category, streamReference, name, origin})
		}
	}
	return list
}

// deletedBy returns the stream that an event is about, and whether it deletes that: a tombstone does, and the metadata
// of a soft delete, which is in the metadata stream.
func deletedBy(r *record) (stream string, deletes bool) {
	name := r.stream.name
	if !isMetastream(name) {
		return name, r.typ == tombstoneType
	}
	if r.typ == metadataType && parseMetadata(r).truncateBefore == esproto.DeletedStream {
		return name[2:], true
	}
	return name, false
}

// categoryOf returns what stands before the first - of a stream's name. The server's own streams are in no category.
func categoryOf(stream string) (category string, ok bool) {
	if strings.HasPrefix(stream, "$") {
		return "", false
	}
	category, _, ok = strings.Cut(stream, "-")
	return category, ok && category != ""
}

// project writes what the projections make of committed events. What it writes is committed, too, so that they see it.
func (c *core) project(recs []*record) {
	for _, r := range recs {
		for _, e := range emissions(r) {
			c.emit(&e)
		}
	}
}

// emittedMetadata lets every user read a stream of projections.
var emittedMetadata = []byte(`{"$acl":{"$r":"$all","$mr":"$all"}}`)

func (c *core) emit(e *emission) {
	if s := c.streamFor(e.stream); s.last() < 0 && !c.hasMetadata(e.stream) {
		c.systemAppend("$$"+e.stream, metadataType, true, emittedMetadata, nil)
	}
	metadata, _ := json.Marshal(e.metadata) // has nothing that cannot be marshaled
	c.systemAppend(e.stream, e.typ, false, []byte(e.data), metadata)
}

// catchUpProjections makes up for what was written while the projections did not run, in the order of the log.
func (c *core) catchUpProjections() {
	type key struct{ stream, data string }
	emitted := make(map[key]bool)
	for _, r := range c.log {
		emitted[key{r.stream.name, string(r.data)}] = true
	}
	for _, r := range c.log {
		for _, e := range emissions(r) {
			if k := (key{e.stream, e.data}); !emitted[k] {
				emitted[k] = true
				c.emit(&e)
			}
		}
	}
}
