package esproto

import "google.golang.org/protobuf/encoding/protowire"

// DecodeStreamEventAppeared reads a StreamEventAppeared into e, which aliases b.
func DecodeStreamEventAppeared(b []byte, e *EventView) error {
	*e = EventView{}
	d := decoder{b: b}
	for d.next() {
		if d.is(1, protowire.BytesType) {
			d.nested(e.Decode)
			continue
		}
		d.skip()
	}
	return d.err
}

// AppendStreamEventAppeared appends a StreamEventAppeared message of encoded EventRecords; nil means absent.
func AppendStreamEventAppeared(b, event, link []byte, commit, prepare int64, style Style) []byte {
	return AppendPositionedEvent(b, 1, event, link, commit, prepare, style)
}
