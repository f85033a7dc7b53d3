package eventlog

import (
	"iter"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Stream is one stream. Event n is events.At(n): numbers have no gaps, as soft deletes and truncation only hide events.
type Stream struct {
	Name      string
	events    RecordList
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
	return int64(s.events.Len()) - 1
}

// HardDeleted reports whether the stream is deleted for good.
func (s *Stream) HardDeleted() bool { return s.tombstone != nil }

// SoftDeleted reports whether the stream is deleted until the next write to it.
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
	if n < 0 || n >= int64(s.events.Len()) {
		return nil
	}
	return s.events.At(int(n))
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

// Stream returns the stream of a name; nil if neither it nor its metadata was ever written.
func (l *Log) Stream(name string) *Stream {
	if s := l.latest; s != nil && s.Name == name {
		return s
	}
	s := l.streams[name]
	if s != nil {
		l.latest = s
	}
	return s
}

// StreamCount returns the number of streams, including streams with metadata only.
func (l *Log) StreamCount() int { return len(l.streams) }

// streamFor returns the stream of a name, and makes a new one if there is none.
func (l *Log) streamFor(name string) *Stream {
	s := l.Stream(name)
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

// Streams returns the streams that have, or had, events, in no order. It leaves out streams with only metadata.
func (l *Log) Streams() iter.Seq[*Stream] {
	return func(yield func(*Stream) bool) {
		for _, s := range l.streams {
			if s.Last() >= 0 && !yield(s) {
				return
			}
		}
	}
}

// Extent returns the number of the first visible event, the number of the last event, visible or not, and how many
// events are visible. A number is -1 if there is no such event.
func (s *Stream) Extent(now time.Time) (first, last int64, visible int) {
	last = int64(s.events.Len()) - 1
	if s.HardDeleted() || s.SoftDeleted() {
		return -1, last, 0
	}
	first = s.First()
	for first <= last && s.Visible(first, now) == nil { // too old: later events are younger
		first++
	}
	if first > last {
		return -1, last, 0
	}
	return first, last, int(last - first + 1)
}
