package esproto

// MaxReadCount is the largest page that a server reads.
const MaxReadCount = 4096

// AppendReadStreamEvents appends a ReadStreamEvents message.
func AppendReadStreamEvents(
	b []byte, stream string, from int64, maxCount int32, resolveLinkTos, requireLeader bool,
) []byte {
	b = appendBytes(b, 1, stream)
	b = appendInt(b, 2, from)
	b = appendInt(b, 3, int64(maxCount))
	b = appendBool(b, 4, resolveLinkTos)
	return appendBool(b, 5, requireLeader)
}

// PageView is the reply to any page read, of a stream, of $all or of filtered $all. It aliases its frame. The comments
// of the fields name the reads to which they belong. A Decode method reads all but the fields of the events, which
// [PageView.NextEvent] reads one by one.
type PageView struct {
	Result             int32 // by the message: ReadStreamResult, ReadAllResult or FilteredReadAllResult
	NextEventNumber    int64 // of a stream
	LastEventNumber    int64 // of a stream
	IsEndOfStream      bool  // of a stream or of filtered $all
	LastCommitPosition int64 // of a stream
	CommitPosition     int64 // of $all, as the three that follow
	PreparePosition    int64
	NextCommit         int64
	NextPrepare        int64
	Error              string
	Len                int // the number of events

	events []byte // the whole message, from which NextEvent picks the events
	tag    uint64 // of an event
}

// DecodeStream reads a ReadStreamEventsCompleted. It clears p first.
func (p *PageView) DecodeStream(b []byte) error {
	*p = PageView{events: b, tag: 1<<3 | wireBytes}
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			p.Len++
		case 2<<3 | wireVarint:
			p.Result = int32(n)
		case 3<<3 | wireVarint:
			p.NextEventNumber = int64(n)
		case 4<<3 | wireVarint:
			p.LastEventNumber = int64(n)
		case 5<<3 | wireVarint:
			p.IsEndOfStream = n != 0
		case 6<<3 | wireVarint:
			p.LastCommitPosition = int64(n)
		case 7<<3 | wireBytes:
			p.Error = text(v)
		}
	}
	return end(b, i)
}

// DecodeAll reads a ReadAllEventsCompleted. It clears p first.
func (p *PageView) DecodeAll(b []byte) error { return p.decodeAll(b, 6, 7, 0) }

// DecodeFilteredAll reads a FilteredReadAllEventsCompleted. It clears p first.
func (p *PageView) DecodeFilteredAll(b []byte) error { return p.decodeAll(b, 7, 8, 6) }

// decodeAll takes the numbers of the fields in which the two messages differ; 0 is a field that the message lacks.
func (p *PageView) decodeAll(b []byte, result, message, endOfStream uint64) error {
	*p = PageView{events: b, tag: 3<<3 | wireBytes}
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 3<<3 | wireBytes:
			p.Len++
		case 1<<3 | wireVarint:
			p.CommitPosition = int64(n)
		case 2<<3 | wireVarint:
			p.PreparePosition = int64(n)
		case 4<<3 | wireVarint:
			p.NextCommit = int64(n)
		case 5<<3 | wireVarint:
			p.NextPrepare = int64(n)
		case endOfStream<<3 | wireVarint:
			p.IsEndOfStream = n != 0
		case result<<3 | wireVarint:
			p.Result = int32(n)
		case message<<3 | wireBytes:
			p.Error = text(v)
		}
	}
	return end(b, i)
}

// NextEvent decodes the page's next event into e. It returns false at the end of the page, and with an error, after
// which the rest of the page must not be used.
func (p *PageView) NextEvent(e *EventView) (bool, error) {
	*e = EventView{}
	b, i := p.events, 0
	for i < len(b) {
		tag, _, v, next := nextField(b, i)
		if i = next; tag == p.tag {
			p.events = b[i:]
			err := e.Decode(v)
			return err == nil, err
		}
	}
	p.events = nil
	return false, end(b, i)
}
