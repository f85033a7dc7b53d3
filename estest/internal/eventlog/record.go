package eventlog

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Record is one event in the log. It never changes after its commit, so a reader needs no lock. It has few pointers,
// because the collector of garbage looks at all of them again and again.
type Record struct {
	Stream  *Stream
	Type    string
	Wire    []byte // the encoded record
	Number  int64
	Prepare int64 // position of the record
	Commit  int64 // position of its commit: another one only in transactions
	Created int64 // in ticks
	ID      esproto.GUID
	JSON    bool
	payload int32 // length of data and metadata
}

// Data returns the data of the event, a part of Wire.
func (r *Record) Data() []byte { return r.decoded().Data }

// Metadata returns the metadata of the event, a part of Wire.
func (r *Record) Metadata() []byte { return r.decoded().Metadata }

func (r *Record) decoded() (v esproto.RecordView) {
	_ = v.Decode(r.Wire) // the log has encoded it
	return v
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
	r := l.arena.record()
	r.Prepare, r.Created = l.end, created
	l.encode(r, s, e, number, l.end)
	l.end += r.size()
	return r
}

// size returns how many bytes of the log a record takes.
func (r *Record) size() int64 {
	return int64(recordSize(r.Stream.Name, r.Type, int(r.payload)))
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

// encode fills a record, whose position and time are set, with an event of a stream, and encodes it once for all
// readers.
func (l *Log) encode(r *Record, s *Stream, e *Event, number, commit int64) {
	r.Stream, r.Number, r.ID, r.Type, r.JSON, r.Commit = s, number, e.ID, l.typeOf(e.Type), e.JSON, commit
	r.payload = int32(len(e.Data) + len(e.Metadata))
	v := esproto.RecordView{
		StreamID: s.Name, EventNumber: number, EventID: r.ID[:], EventType: r.Type, Data: e.Data,
		Metadata: e.Metadata, Created: r.Created, CreatedEpoch: esproto.TicksToTime(r.Created).UnixMilli(),
	}
	if r.JSON {
		v.DataContentType, v.MetadataContentType = esproto.ContentTypeJSON, esproto.ContentTypeJSON
	}
	size := len(v.StreamID) + len(v.EventType) + len(v.Data) + len(v.Metadata) + 80
	r.Wire = l.arena.keep(size, v.Append(l.arena.reserve(size), l.facts.Style))
}

// typeOf returns an event type in memory that all its events share. The argument may be part of a borrowed frame.
func (l *Log) typeOf(name string) string {
	if name != l.latestType {
		typ, ok := l.types[name]
		if !ok {
			typ = strings.Clone(name)
			l.types[typ] = typ
		}
		l.latestType = typ
	}
	return l.latestType
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
