package esproto

import "google.golang.org/protobuf/encoding/protowire"

// MaxReadCount is the largest page that a server reads.
const MaxReadCount = 4096

// AppendReadStreamEvents appends a ReadStreamEvents message.
func AppendReadStreamEvents(b []byte, stream string, from int64, maxCount int32, resolveLinkTos, requireLeader bool) []byte {
	b = appendBytes(b, 1, stream)
	b = appendInt(b, 2, from)
	b = appendInt(b, 3, int64(maxCount))
	b = appendBool(b, 4, resolveLinkTos)
	return appendBool(b, 5, requireLeader)
}

// PageView is the reply to any page read, of a stream, of $all or of filtered $all, aliasing its frame. Which fields
// mean something depends on what was read; see the Decode methods.
type PageView struct {
	Result             int32 // by the message: ReadStreamResult, ReadAllResult or FilteredReadAllResult
	NextEventNumber    int64
	LastEventNumber    int64
	IsEndOfStream      bool
	LastCommitPosition int64
	CommitPosition     int64
	PreparePosition    int64
	NextCommit         int64
	NextPrepare        int64
	Error              string
	Len                int // the number of events

	events []byte // the whole message, from which NextEvent picks the events
	num    protowire.Number
}

// DecodeStream reads a ReadStreamEventsCompleted. What p held before is forgotten.
func (p *PageView) DecodeStream(b []byte) error {
	*p = PageView{events: b, num: 1}
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			p.Len++
			d.bytes()
		case d.is(2, protowire.VarintType):
			p.Result = d.int32()
		case d.is(3, protowire.VarintType):
			p.NextEventNumber = d.int64()
		case d.is(4, protowire.VarintType):
			p.LastEventNumber = d.int64()
		case d.is(5, protowire.VarintType):
			p.IsEndOfStream = d.bool()
		case d.is(6, protowire.VarintType):
			p.LastCommitPosition = d.int64()
		case d.is(7, protowire.BytesType):
			p.Error = d.string()
		default:
			d.skip()
		}
	}
	return d.err
}

// DecodeAll reads a ReadAllEventsCompleted. What p held before is forgotten.
func (p *PageView) DecodeAll(b []byte) error { return p.decodeAll(b, 6, 7, 0) }

// DecodeFilteredAll reads a FilteredReadAllEventsCompleted. What p held before is forgotten.
func (p *PageView) DecodeFilteredAll(b []byte) error { return p.decodeAll(b, 7, 8, 6) }

// decodeAll takes the numbers of the fields in which the two messages differ; 0 is a field that the message lacks.
func (p *PageView) decodeAll(b []byte, result, text, end protowire.Number) error {
	*p = PageView{events: b, num: 3}
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.VarintType):
			p.CommitPosition = d.int64()
		case d.is(2, protowire.VarintType):
			p.PreparePosition = d.int64()
		case d.is(3, protowire.BytesType):
			p.Len++
			d.bytes()
		case d.is(4, protowire.VarintType):
			p.NextCommit = d.int64()
		case d.is(5, protowire.VarintType):
			p.NextPrepare = d.int64()
		case d.is(end, protowire.VarintType):
			p.IsEndOfStream = d.bool()
		case d.is(result, protowire.VarintType):
			p.Result = d.int32()
		case d.is(text, protowire.BytesType):
			p.Error = d.string()
		default:
			d.skip()
		}
	}
	return d.err
}

// NextEvent decodes the page's next event into e. It returns false at the end of the page.
func (p *PageView) NextEvent(e *EventView) (bool, error) {
	d := decoder{b: p.events}
	for d.next() {
		if !d.is(p.num, protowire.BytesType) {
			d.skip()
			continue
		}
		*e = EventView{}
		d.nested(e.Decode)
		p.events = d.b
		return d.err == nil, d.err
	}
	p.events = nil
	return false, d.err
}
