package esclient

import (
	"bytes"
	"strconv"
	"strings"
)

// linkType is the type of link events, whose data is number@stream.
const linkType = "$>"

// LinkTarget returns the stream and the number of the event that a link event names. ok is false for an event of
// another type, and for a link whose data names no event.
func (e *Event) LinkTarget() (stream string, number int64, ok bool) {
	if e.Type != linkType {
		return "", 0, false
	}
	digits, name, _ := bytes.Cut(e.Data, []byte("@"))
	number, err := strconv.ParseInt(strings.TrimSpace(string(digits)), 10, 64) // as servers do
	if err != nil || len(name) == 0 {
		return "", 0, false
	}
	return string(name), number, true
}

// markUnresolved sets Unresolved on an event that is still a link after the server has resolved links. Servers from 5.0
// on return a link with malformed data as an event in its own right, and all of them resolve one link only.
func (e *Event) markUnresolved() {
	if e.Type == linkType {
		e.Unresolved = true
	}
}

// markUnresolvedOf is markUnresolved for an event that a group of stream has delivered. resolves is true if the group
// is known to resolve links. If it is false, or wrong, only links with malformed data are recognised. Parked events are
// always resolved, and may be links of a group that does not resolve them.
func (e *Event) markUnresolvedOf(stream string, resolves bool) {
	switch {
	case e.Type != linkType:
	case e.Link != nil:
		e.Unresolved = e.Unresolved || e.Link.Stream == stream
	case resolves:
		if _, _, ok := e.LinkTarget(); !ok {
			e.Unresolved = true
		}
	}
}
