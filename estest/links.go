package estest

import (
	"bytes"
	"strconv"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

const linkType = "$>"

// parseLink reads the data of a link, number@stream, split at the first @.
func parseLink(data []byte) (number int64, stream string, ok bool) {
	n, name, ok := bytes.Cut(data, []byte("@"))
	if !ok {
		return 0, "", false
	}
	number, err := strconv.ParseInt(string(n), 10, 64)
	return number, string(name), err == nil
}

// resolve returns what a reader that resolves links gets for an event: the event itself, or the target and the link.
// event is nil for a link whose target is gone.
func (c *core) resolve(r *record) (event, link *record) {
	if r.typ != linkType {
		return r, nil
	}
	number, name, ok := parseLink(r.data)
	if !ok {
		if !c.persona.since(era5) {
			return nil, r
		}
		return r, nil
	}
	return c.target(number, name), r
}

func (c *core) target(number int64, name string) *record {
	s := c.stream(name)
	if s == nil || s.hardDeleted() {
		return nil
	}
	return s.visible(number, c.now())
}

// resolveFor is resolve with the rights of a user: ok is false if the target may not be read. Servers from 20.6 on do
// not look at those.
func (c *core) resolveFor(u *user, r *record, resolveLinks bool) (event, link *record, ok bool) {
	if !resolveLinks {
		return r, nil, true
	}
	event, link = c.resolve(r)
	if event != nil && link != nil && !c.persona.since(era20) && !c.allowed(u, rightRead, event.stream.name) {
		return nil, nil, false
	}
	return event, link, true
}

// appendIndexed appends field 1 holding an event as stream reads have it.
func (c *conn) appendIndexed(b []byte, event, link *record) []byte {
	return esproto.AppendIndexedEvent(b, 1, c.wire(event), c.wire(link))
}

// wire returns the encoded record as this client understands it: one that did not identify itself gets 32-bit numbers.
func (c *conn) wire(r *record) []byte {
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
	return v.Append(nil, c.core.persona.style)
}
