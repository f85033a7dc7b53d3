package eventlog

import (
	"bytes"
	"strconv"
	"strings"
)

// LinkType is the type of links. The data of a link are the number of an event, @, and the name of its stream.
const LinkType = "$>"

// target returns the event that the data of a link lead to. It returns nil if that event is gone. ok is false if the
// data have no number.
func (l *Log) target(data []byte, name string) (r *Record, ok bool) {
	n, _, _ := strings.Cut(string(data), "@")
	number, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
	if err != nil {
		return nil, false
	}
	s := l.Stream(name)
	if s == nil || s.Last() < 0 || s.HardDeleted() || s.SoftDeleted() {
		return nil, true
	}
	if number == -1 {
		number = s.Last()
	}
	return s.Visible(number, l.now()), true
}

// linkedStream returns the name of the stream in the data of a link: everything behind the first @.
func linkedStream(data []byte) string {
	_, name, _ := bytes.Cut(data, []byte("@"))
	return string(name)
}

// Resolve returns event and link for a reader who resolves links. link is nil if r is no link. event is nil if the
// target is gone.
func (l *Log) Resolve(r *Record) (event, link *Record) {
	if r.Type != LinkType {
		return r, nil
	}
	data := r.Data()
	event, ok := l.target(data, linkedStream(data))
	if !ok && l.facts.BadLinkIsEvent {
		return r, nil // no link at all
	}
	return event, r
}

// ResolvePushed is Resolve for an event that was just written. A link with malformed data has no target there, even if
// reads take it for an event. persistent says that the event goes to a group.
func (l *Log) ResolvePushed(r *Record, persistent bool) (event, link *Record) {
	if r.Type != LinkType {
		return r, nil
	}
	data := r.Data()
	name := linkedStream(data)
	if persistent && l.facts.PushedLinkIsCut {
		name, _, _ = strings.Cut(name, "@")
	}
	event, _ = l.target(data, name)
	return event, r
}

// ResolveFor is Resolve with the rights of a user. ok is false if the user must not read the stream of the target,
// whether that exists or not.
func (l *Log) ResolveFor(u *User, r *Record, resolveLinks bool) (event, link *Record, ok bool) {
	if !resolveLinks {
		return r, nil, true
	}
	event, link = l.Resolve(r)
	if link != nil && l.facts.ChecksRightsOnLinkTarget {
		if name := linkedStream(r.Data()); name != "" && !l.Allowed(u, RightRead, name) {
			return nil, nil, false
		}
	}
	return event, link, true
}
