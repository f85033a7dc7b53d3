package eventlog

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Record is one event in the log. It never changes once it is committed, so whoever holds one needs no lock.
type Record struct {
	Stream   *Stream
	Number   int64
	ID       esproto.GUID
	Type     string
	JSON     bool
	Data     []byte
	Metadata []byte
	Prepare  int64 // offset of the record
	Commit   int64 // the same, except in transactions
	Created  int64 // ticks
	Wire     []byte
}

// Event is one that is to be written.
type Event struct {
	ID       esproto.GUID
	Type     string
	JSON     bool
	Data     []byte
	Metadata []byte
}

// Stream is everything that the log has of one stream. Event n is events[n]: numbers have no gaps, also over soft
// deletes and truncation, which only hide events.
type Stream struct {
	Name      string
	events    []*Record
	tombstone *Record  // not nil once the stream is hard-deleted
	meta      metadata // as the last event of $$name says; of a metadata stream the implicit one

	emitter *Projection // that wrote the event in emitted, the last one that it wrote here
	emitted *Record
}

// Last returns the number of the last event, -1 without one, or DeletedStream.
func (s *Stream) Last() int64 {
	if s.tombstone != nil {
		return esproto.DeletedStream
	}
	return int64(len(s.events)) - 1
}

// HardDeleted reports whether a stream is gone for good.
func (s *Stream) HardDeleted() bool { return s.tombstone != nil }

// SoftDeleted reports whether a stream is deleted until somebody writes to it.
func (s *Stream) SoftDeleted() bool {
	return s.tombstone == nil && s.meta.truncateBefore == esproto.DeletedStream
}

// First returns the lowest number that $tb and $maxCount leave visible.
func (s *Stream) First() int64 {
	first := max(s.meta.truncateBefore, 0)
	if s.meta.maxCount > 0 {
		first = max(first, s.Last()-s.meta.maxCount+1)
	}
	return first
}

// At returns event n, whether it is visible or not; nil if there is none.
func (s *Stream) At(n int64) *Record {
	if n == esproto.DeletedStream && s.tombstone != nil {
		return s.tombstone
	}
	if n < 0 || n >= int64(len(s.events)) {
		return nil
	}
	return s.events[n]
}

// expired reports whether $maxAge hides an event.
func (s *Stream) expired(r *Record, now time.Time) bool {
	if s.meta.maxAge <= 0 {
		return false
	}
	return now.Sub(esproto.TicksToTime(r.Created)) > s.meta.maxAge
}

// Visible returns event n if it is there and nothing hides it.
func (s *Stream) Visible(n int64, now time.Time) *Record {
	if n < s.First() {
		return nil
	}
	r := s.At(n)
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

// Stream returns the stream of that name; nil if nothing was ever written to it.
func (l *Log) Stream(name string) *Stream { return l.streams[name] }

// StreamCount returns how many streams there are, also those that have metadata only.
func (l *Log) StreamCount() int { return len(l.streams) }

// streamFor returns the stream of that name, which it makes if nothing was ever written to it.
func (l *Log) streamFor(name string) *Stream {
	s := l.streams[name]
	if s == nil {
		name = strings.Clone(name) // it may be part of a frame that is only borrowed
		s = &Stream{Name: name}
		if isMetastream(name) {
			s.meta.maxCount = 1
		}
		l.streams[name] = s
	}
	return s
}

// ticks is the time for what is written now. The events of an append have the same.
func (l *Log) ticks() int64 { return esproto.TimeToTicks(l.now()) }

// newRecord puts an event at the end of the log. It becomes visible with commit.
func (l *Log) newRecord(s *Stream, number int64, e *Event, created int64) *Record {
	r := l.placeRecord(s, e, created)
	l.encode(r, number, r.Prepare)
	return r
}

// placeRecord gives an event its place in the log.
func (l *Log) placeRecord(s *Stream, e *Event, created int64) *Record {
	r := l.arena.record()
	r.Stream, r.ID, r.Type, r.JSON, r.Data, r.Metadata = s, e.ID, e.Type, e.JSON, e.Data, e.Metadata
	r.Prepare, r.Created = l.end, created
	l.end += r.size()
	return r
}

// size is how much of the log a record takes.
func (r *Record) size() int64 {
	return int64(recordSize(r.Stream.Name, r.Type, len(r.Data)+len(r.Metadata)))
}

// recordSize is how much of the log a record takes whose data and metadata have so many bytes together.
func recordSize(stream, typ string, data int) int {
	return recordOverhead + protowire.SizeBytes(len(stream)) + protowire.SizeBytes(len(typ)) + data
}

// takePlace gives a place in the log to a record that is no event, or none that has its place for itself.
func (l *Log) takePlace(size int) (pos int64) {
	pos = l.end
	l.marks = append(l.marks, pos)
	l.end += int64(size)
	return pos
}

// begins reports whether a record begins at a position of the log, or may.
func (l *Log) begins(pos int64) bool {
	if pos == l.end {
		return true
	}
	if _, ok := slices.BinarySearch(l.marks, pos); ok {
		return true
	}
	i := l.IndexFrom(Position{pos, pos})
	return i < len(l.records) && l.records[i].Prepare == pos && l.records[i].Commit == pos
}

// encode fixes what was open and encodes the record for all its readers. Its slices become parts of the encoding.
func (l *Log) encode(r *Record, number, commit int64) {
	r.Number, r.Commit = number, commit
	v := esproto.RecordView{
		StreamID: r.Stream.Name, EventNumber: number, EventID: r.ID[:], EventType: r.Type, Data: r.Data,
		Metadata: r.Metadata, Created: r.Created, CreatedEpoch: esproto.TicksToTime(r.Created).UnixMilli(),
	}
	if r.JSON {
		v.DataContentType, v.MetadataContentType = esproto.ContentTypeJSON, esproto.ContentTypeJSON
	}
	size := len(v.StreamID) + len(v.EventType) + len(v.Data) + len(v.Metadata) + 80
	r.Wire = l.arena.keep(size, v.Append(l.arena.reserve(size), l.facts.Style))
	if err := v.Decode(r.Wire); err == nil {
		r.Type, r.Data, r.Metadata = v.EventType, v.Data, v.Metadata
	}
}

// commit makes records visible to readers and to the idempotency cache, and tells the observers. The records must be
// those of one stream, numbered on from its end.
func (l *Log) commit(recs []*Record) {
	before := len(l.records)
	for _, r := range recs {
		s := r.Stream
		if r.Number == esproto.DeletedStream {
			s.tombstone = r
		} else {
			s.events = append(s.events, r)
		}
		l.records = append(l.records, r)
		l.ids.add(r)
		l.lastCommit = r.Commit
		switch {
		case isMetastream(s.Name):
			l.setMetadata(s.Name[2:], r)
		case s.Name == settingsStream:
			l.defaults = parseDefaults(r.Data)
		}
	}
	l.tell(Commit{Stream: recs[0].Stream, Records: slices.Clip(l.records[before:])})
}

// SystemAppend writes an event of the server's own, with no checks.
func (l *Log) SystemAppend(name, typ string, json bool, data, metadata []byte) *Record {
	s := l.streamFor(name)
	e := Event{ID: NewGUID(), Type: typ, JSON: json, Data: data, Metadata: metadata}
	r := l.newRecord(s, s.Last()+1, &e, l.ticks())
	l.commit([]*Record{r})
	return r
}

// SystemWrite is SystemAppend to a stream that may be soft-deleted, and is then brought back.
func (l *Log) SystemWrite(name, typ string, json bool, data, metadata []byte) *Record {
	s := l.Stream(name)
	soft := s != nil && s.SoftDeleted()
	r := l.SystemAppend(name, typ, json, data, metadata)
	if soft {
		l.showFrom(r.Stream, r.Number)
	}
	return r
}

// ReadForward reads a window of count numbers from from on: the visible events in it, where to read on, and whether it
// reached the end. The stream must exist and not be deleted.
func (l *Log) ReadForward(s *Stream, from int64, count int) (recs []*Record, next int64, end bool) {
	last, first, now := s.Last(), s.First(), l.now()
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
		if r := s.Visible(n, now); r != nil {
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
func (s *Stream) seekByAge(from int64, now time.Time) (recs []*Record, next int64, end bool) {
	last := s.Last()
	young := sort.Search(int(last-from+1), func(i int) bool { return !s.expired(s.At(from+int64(i)), now) })
	next = from + int64(young)
	return nil, next, next > last
}

// readBackward is ReadForward from from down; a negative from is the last event. next is -1 at the beginning.
func (l *Log) readBackward(s *Stream, from int64, count int) (recs []*Record, next int64, end bool) {
	last, first, now := s.Last(), s.First(), l.now()
	if from < 0 {
		from = last
	}
	start := max(0, from-int64(count)+1)
	if from < first {
		return nil, -1, true
	}
	lowest := int64(-1)
	for n := min(from, last); n >= max(start, first); n-- {
		if r := s.Visible(n, now); r != nil {
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
