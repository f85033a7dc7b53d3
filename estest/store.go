package estest

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// record is one event in the log. It never changes once it is committed, so whoever holds one needs no lock.
type record struct {
	stream   *stream
	number   int64
	id       esproto.GUID
	typ      string
	json     bool
	data     []byte
	metadata []byte
	prepare  int64 // offset of the record
	commit   int64 // the same, except in transactions
	created  int64 // ticks
	wire     []byte
}

// event is one that is to be written.
type event struct {
	id       esproto.GUID
	typ      string
	json     bool
	data     []byte
	metadata []byte
}

// stream is everything that the log has of one stream. Event n is events[n]: numbers have no gaps, also over soft
// deletes and truncation, which only hide events.
type stream struct {
	name      string
	events    []*record
	tombstone *record  // not nil once the stream is hard-deleted
	meta      metadata // as the last event of $$name says; of a metadata stream the implicit one

	emitter *projection // that wrote the event in emitted, the last one that it wrote here
	emitted *record
}

// last returns the number of the last event, -1 without one, or DeletedStream.
func (s *stream) last() int64 {
	if s.tombstone != nil {
		return esproto.DeletedStream
	}
	return int64(len(s.events)) - 1
}

func (s *stream) hardDeleted() bool { return s.tombstone != nil }

func (s *stream) softDeleted() bool {
	return s.tombstone == nil && s.meta.truncateBefore == esproto.DeletedStream
}

// first returns the lowest number that $tb and $maxCount leave visible.
func (s *stream) first() int64 {
	first := max(s.meta.truncateBefore, 0)
	if s.meta.maxCount > 0 {
		first = max(first, s.last()-s.meta.maxCount+1)
	}
	return first
}

// at returns event n, whether it is visible or not; nil if there is none.
func (s *stream) at(n int64) *record {
	if n == esproto.DeletedStream && s.tombstone != nil {
		return s.tombstone
	}
	if n < 0 || n >= int64(len(s.events)) {
		return nil
	}
	return s.events[n]
}

// expired reports whether $maxAge hides an event.
func (s *stream) expired(r *record, now time.Time) bool {
	if s.meta.maxAge <= 0 {
		return false
	}
	return now.Sub(esproto.TicksToTime(r.created)) > s.meta.maxAge
}

// visible returns event n if it is there and nothing hides it.
func (s *stream) visible(n int64, now time.Time) *record {
	if n < s.first() {
		return nil
	}
	r := s.at(n)
	if r == nil || s.expired(r, now) {
		return nil
	}
	return r
}

// What records take in the log besides their data, as on disk.
const (
	recordOverhead       = 88 // and the lengths of two names
	systemRecordOverhead = 40
	commitRecordSize     = 66
	firstPosition        = 0
)

// stream returns the stream of that name; nil if nothing was ever written to it.
func (l *eventLog) stream(name string) *stream { return l.streams[name] }

// StreamCount returns how many streams there are, also those that have metadata only.
func (l *eventLog) StreamCount() int { return len(l.streams) }

// streamFor returns the stream of that name, which it makes if nothing was ever written to it.
func (l *eventLog) streamFor(name string) *stream {
	s := l.streams[name]
	if s == nil {
		name = strings.Clone(name) // it may be part of a frame that is only borrowed
		s = &stream{name: name}
		if isMetastream(name) {
			s.meta.maxCount = 1
		}
		l.streams[name] = s
	}
	return s
}

// ticks is the time for what is written now. The events of an append have the same.
func (l *eventLog) ticks() int64 { return esproto.TimeToTicks(l.now()) }

// newRecord puts an event at the end of the log. It becomes visible with commit.
func (l *eventLog) newRecord(s *stream, number int64, e *event, created int64) *record {
	r := l.placeRecord(s, e, created)
	l.encode(r, number, r.prepare)
	return r
}

// placeRecord gives an event its place in the log.
func (l *eventLog) placeRecord(s *stream, e *event, created int64) *record {
	r := l.arena.record()
	r.stream, r.id, r.typ, r.json, r.data, r.metadata = s, e.id, e.typ, e.json, e.data, e.metadata
	r.prepare, r.created = l.end, created
	l.end += r.size()
	return r
}

// size is how much of the log a record takes.
func (r *record) size() int64 {
	return int64(recordSize(r.stream.name, r.typ, len(r.data)+len(r.metadata)))
}

// recordSize is how much of the log a record takes whose data and metadata have so many bytes together.
func recordSize(stream, typ string, data int) int {
	return recordOverhead + protowire.SizeBytes(len(stream)) + protowire.SizeBytes(len(typ)) + data
}

// takePlace gives a place in the log to a record that is no event, or none that has its place for itself.
func (l *eventLog) takePlace(size int) (pos int64) {
	pos = l.end
	l.marks = append(l.marks, pos)
	l.end += int64(size)
	return pos
}

// begins reports whether a record begins at a position of the log, or may.
func (l *eventLog) begins(pos int64) bool {
	if pos == l.end {
		return true
	}
	if _, ok := slices.BinarySearch(l.marks, pos); ok {
		return true
	}
	i := l.indexFrom(position{pos, pos})
	return i < len(l.records) && l.records[i].prepare == pos && l.records[i].commit == pos
}

// encode fixes what was open and encodes the record for all its readers. Its slices become parts of the encoding.
func (l *eventLog) encode(r *record, number, commit int64) {
	r.number, r.commit = number, commit
	v := esproto.RecordView{
		StreamID: r.stream.name, EventNumber: number, EventID: r.id[:], EventType: r.typ, Data: r.data,
		Metadata: r.metadata, Created: r.created, CreatedEpoch: esproto.TicksToTime(r.created).UnixMilli(),
	}
	if r.json {
		v.DataContentType, v.MetadataContentType = esproto.ContentTypeJSON, esproto.ContentTypeJSON
	}
	size := len(v.StreamID) + len(v.EventType) + len(v.Data) + len(v.Metadata) + 80
	r.wire = l.arena.keep(size, v.Append(l.arena.reserve(size), l.facts.Style))
	if err := v.Decode(r.wire); err == nil {
		r.typ, r.data, r.metadata = v.EventType, v.Data, v.Metadata
	}
}

// commit makes records visible to readers and to the idempotency cache, and tells the observers. The records must be
// those of one stream, numbered on from its end.
func (l *eventLog) commit(recs []*record) {
	before := len(l.records)
	for _, r := range recs {
		s := r.stream
		if r.number == esproto.DeletedStream {
			s.tombstone = r
		} else {
			s.events = append(s.events, r)
		}
		l.records = append(l.records, r)
		l.ids.add(r)
		l.lastCommit = r.commit
		switch {
		case isMetastream(s.name):
			l.setMetadata(s.name[2:], r)
		case s.name == settingsStream:
			l.defaults = parseDefaults(r.data)
		}
	}
	l.tell(commit{stream: recs[0].stream, records: slices.Clip(l.records[before:])})
}

// systemAppend writes an event of the server's own, with no checks.
func (l *eventLog) systemAppend(name, typ string, json bool, data, metadata []byte) *record {
	s := l.streamFor(name)
	e := event{id: newGUID(), typ: typ, json: json, data: data, metadata: metadata}
	r := l.newRecord(s, s.last()+1, &e, l.ticks())
	l.commit([]*record{r})
	return r
}

// systemWrite is systemAppend to a stream that may be soft-deleted, and is then brought back.
func (l *eventLog) systemWrite(name, typ string, json bool, data, metadata []byte) *record {
	s := l.stream(name)
	soft := s != nil && s.softDeleted()
	r := l.systemAppend(name, typ, json, data, metadata)
	if soft {
		l.showFrom(r.stream, r.number)
	}
	return r
}

// readForward reads a window of count numbers from from on: the visible events in it, where to read on, and whether it
// reached the end. The stream must exist and not be deleted.
func (l *eventLog) readForward(s *stream, from int64, count int) (recs []*record, next int64, end bool) {
	last, first, now := s.last(), s.first(), l.now()
	windowEnd := from + int64(count) - 1
	if windowEnd < from && !l.facts.PageEndWraps {
		windowEnd = math.MaxInt64
	}
	if windowEnd < first {
		return nil, first, false
	}
	if from > last && !l.facts.PageEndWraps {
		return nil, last + 1, true
	}
	next = min(windowEnd+1, last+1)
	for n := max(from, first); n <= min(windowEnd, last); n++ {
		if r := s.visible(n, now); r != nil {
			recs = append(recs, r)
			next = n + 1
		}
	}
	if len(recs) == 0 && s.meta.maxAge > 0 && windowEnd < last && l.facts.SeeksByAge {
		return s.seekByAge(windowEnd+1, now)
	}
	return recs, next, windowEnd >= last
}

// seekByAge is the page of a read whose whole window is too old. It is read on at the first event that is young
// enough, or behind all of them.
func (s *stream) seekByAge(from int64, now time.Time) (recs []*record, next int64, end bool) {
	last := s.last()
	young := sort.Search(int(last-from+1), func(i int) bool { return !s.expired(s.at(from+int64(i)), now) })
	next = from + int64(young)
	return nil, next, next > last
}

// readBackward is readForward from from down; a negative from is the last event. next is -1 at the beginning.
func (l *eventLog) readBackward(s *stream, from int64, count int) (recs []*record, next int64, end bool) {
	last, first, now := s.last(), s.first(), l.now()
	if from < 0 {
		from = last
	}
	start := max(0, from-int64(count)+1)
	if from < first {
		return nil, -1, true
	}
	lowest := int64(-1)
	for n := min(from, last); n >= max(start, first); n-- {
		if r := s.visible(n, now); r != nil {
			recs = append(recs, r)
			lowest = n
		}
	}
	switch {
	case start <= first, start == 0, start <= last && lowest != start:
		return recs, -1, true
	}
	return recs, min(start-1, last), false
}
