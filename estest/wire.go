package estest

import (
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// appendIndexed appends an event to the reply of a stream read, as field 1.
func (c *caller) appendIndexed(b []byte, event, link *eventlog.Record) []byte {
	return esproto.AppendIndexedEvent(b, 1, c.wire(event), c.wire(link))
}

// wire returns the encoded record in the form for this client. A client that did not identify itself gets 32-bit
// numbers.
func (c *caller) wire(r *eventlog.Record) []byte {
	if r == nil {
		return nil
	}
	n := c.narrow(r.Number)
	if n == r.Number {
		return r.Wire
	}
	var v esproto.RecordView
	if v.Decode(r.Wire) != nil {
		return r.Wire
	}
	v.EventNumber = n
	return v.Append(nil, c.core.persona.Style)
}

// pageSize estimates the size of a page of records, so that the page is not copied while it grows.
func pageSize(recs []*eventlog.Record) int {
	n := 512
	for _, r := range recs {
		n += len(r.Wire) + 32
	}
	return n
}
