package estest

import (
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// appendIndexed appends field 1 holding an event as stream reads have it.
func (c *caller) appendIndexed(b []byte, event, link *eventlog.Record) []byte {
	return esproto.AppendIndexedEvent(b, 1, c.wire(event), c.wire(link))
}

// wire returns the encoded record as this client understands it: one that did not identify itself gets 32-bit numbers.
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

// pageSize is about how much a page of records takes, so that it is not copied while it grows.
func pageSize(recs []*eventlog.Record) int {
	n := 512
	for _, r := range recs {
		n += len(r.Wire) + 32
	}
	return n
}
