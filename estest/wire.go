package estest

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// appendIndexed appends field 1 holding an event as stream reads have it.
func (c *caller) appendIndexed(b []byte, event, link *record) []byte {
	return esproto.AppendIndexedEvent(b, 1, c.wire(event), c.wire(link))
}

// wire returns the encoded record as this client understands it: one that did not identify itself gets 32-bit numbers.
func (c *caller) wire(r *record) []byte {
	if r == nil {
		return nil
	}
	n := c.narrow(r.number)
	if n == r.number {
		return r.wire
	}
	var v esproto.RecordView
	if v.Decode(r.wire) != nil {
		return r.wire
	}
	v.EventNumber = n
	return v.Append(nil, c.core.persona.Style)
}

// pageSize is about how much a page of records takes, so that it is not copied while it grows.
func pageSize(recs []*record) int {
	n := 512
	for _, r := range recs {
		n += len(r.wire) + 32
	}
	return n
}
