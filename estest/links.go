package estest

import (
	"bytes"
	"strconv"
	"strings"
)

const linkType = "$>"

// target reads the data of a link, number@stream, and returns what it leads to; nil if that is gone. ok is false if
// there is no number.
func (l *eventLog) target(data []byte, name string) (r *record, ok bool) {
	n, _, _ := strings.Cut(string(data), "@")
	number, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
	if err != nil {
		return nil, false
	}
	s := l.stream(name)
	if s == nil || s.last() < 0 || s.hardDeleted() || s.softDeleted() {
		return nil, true
	}
	if number == -1 {
		number = s.last()
	}
	return s.visible(number, l.now()), true
}

// linkedStream returns the name of the stream that a link leads to: what stands behind the first @.
func linkedStream(data []byte) string {
	_, name, _ := bytes.Cut(data, []byte("@"))
	return string(name)
}

// resolve returns what a reader that resolves links gets for an event: the event itself, or the target and the link.
// event is nil for a link whose target is gone.
func (l *eventLog) resolve(r *record) (event, link *record) {
	if r.typ != linkType {
		return r, nil
	}
	event, ok := l.target(r.data, linkedStream(r.data))
	if !ok && l.facts.BadLinkIsEvent {
		return r, nil // no link at all
	}
	return event, r
}

// resolvePushed is resolve for an event that was just written. What is no link is a dead one there, whatever reads make
// of it.
func (l *eventLog) resolvePushed(r *record, persistent bool) (event, link *record) {
	if r.typ != linkType {
		return r, nil
	}
	name := linkedStream(r.data)
	if persistent && l.facts.PushedLinkIsCut {
		name, _, _ = strings.Cut(name, "@")
	}
	event, _ = l.target(r.data, name)
	return event, r
}

// resolveFor is resolve with the rights of a user: ok is false if the target's stream may not be read, whether there is
// such a stream or not.
func (l *eventLog) resolveFor(u *user, r *record, resolveLinks bool) (event, link *record, ok bool) {
	if !resolveLinks {
		return r, nil, true
	}
	event, link = l.resolve(r)
	if link != nil && l.facts.ChecksRightsOnLinkTarget {
		if name := linkedStream(r.data); name != "" && !l.allowed(u, rightRead, name) {
			return nil, nil, false
		}
	}
	return event, link, true
}
