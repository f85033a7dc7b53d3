package eventlog

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Record is one event in the log. It never changes after its commit, so a reader needs no lock.
type Record struct {
	Stream   *Stream
	Number   int64
	ID       esproto.GUID
	Type     string
	JSON     bool
	Data     []byte
	Metadata []byte
	Prepare  int64  // position of the record
	Commit   int64  // position of its commit: another one only in transactions
	Created  int64  // in ticks
	Wire     []byte // the encoded record, which Data and Metadata are parts of
}

// Event is an event to write.
type Event struct {
	ID       esproto.GUID
	Type     string
	JSON     bool
	Data     []byte
	Metadata []byte
}

// The sizes of records in the log besides their data, as on disk.
const (
	recordOverhead       = 88 // and the lengths of two names
	systemRecordOverhead = 40
	commitRecordSize     = 66
	firstPosition        = 0
)

// ticks returns the time of a write, which all its events share.
func (l *Log) ticks() int64 { return esproto.TimeToTicks(l.now()) }

// newRecord puts an event at the end of the log. commit shows it.
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

// size returns how many bytes of the log a record takes.
func (r *Record) size() int64 {
	return int64(recordSize(r.Stream.Name, r.Type, len(r.Data)+len(r.Metadata)))
}

// recordSize returns how many bytes of the log a record takes. data is the length of its data and metadata.
func recordSize(stream, typ string, data int) int {
	return recordOverhead + protowire.SizeBytes(len(stream)) + protowire.SizeBytes(len(typ)) + data
}

// takePlace takes a place in the log for a record that is no event, or is part of a transaction.
func (l *Log) takePlace(size int) (pos int64) {
	pos = l.end
	l.marks = append(l.marks, pos)
	l.end += int64(size)
	return pos
}

// begins reports whether a record begins at a position, or will begin there.
func (l *Log) begins(pos int64) bool {
	if pos == l.end {
		return true
	}
	if _, ok := slices.BinarySearch(l.marks, pos); ok {
		return true
	}
	i := l.IndexFrom(Position{pos, pos})
	return i < l.records.Len() && l.records.At(i).Position() == Position{pos, pos}
}

// encode sets the number and the position of a record and encodes it once for all readers. The slices of the record
// then alias the encoding.
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

// Position is a place in the log.
type Position struct{ Commit, Prepare int64 }

func (p Position) before(q Position) bool {
	return p.Commit < q.Commit || p.Commit == q.Commit && p.Prepare < q.Prepare
}

// Position returns the position of the record.
func (r *Record) Position() Position { return Position{r.Commit, r.Prepare} }

// afterwards returns the position to read on from behind a record. Within a transaction that is a position of the same
// commit.
func (r *Record) afterwards() Position {
	if r.Commit != r.Prepare {
		return Position{r.Commit, r.Prepare + r.size()}
	}
	return Position{r.Commit + r.size(), 0}
}

// backwards returns the position to read backward from, for the records before r.
func (r *Record) backwards() Position {
	if r.Commit != r.Prepare {
		return Position{r.Commit + commitRecordSize, r.Prepare}
	}
	return r.Position()
}

// ending returns the first position from which a backward read has the record.
func (r *Record) ending() Position {
	if r.Commit != r.Prepare {
		return Position{r.Commit + commitRecordSize, r.Prepare + r.size()}
	}
	return Position{r.Commit + r.size(), r.Commit + r.size()}
}

// members returns a position as members of a JSON object.
func (p Position) members() string {
	return `"$c":` + strconv.FormatInt(p.Commit, 10) + `,"$p":` + strconv.FormatInt(p.Prepare, 10)
}

// String returns a position in the form of the server's statistics.
func (p Position) String() string {
	return "C:" + strconv.FormatInt(p.Commit, 10) + "/P:" + strconv.FormatInt(p.Prepare, 10)
}
