package esclient

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// cursor is the progress of a subscription.
type cursor struct {
	all      bool
	number   int64    // of the last event of the stream that was delivered or skipped; -1 for none
	position Position // the same for $all
	any      bool     // position is set; otherwise the subscription begins with the first event of $all
	next     Position // the beginning of the next page of $all
	passed   Position // of the last event of $all that was delivered or looked at; UnknownPosition for none
}

func (c *cursor) start(s Start) {
	switch s.kind {
	case startNumber:
		if c.number = s.number; s.included {
			c.number--
		}
	case startPosition:
		c.next = s.position
		c.any = true
		if c.position = s.position; s.included {
			c.position.Prepare--
		} else {
			c.passed = s.position
		}
	}
}

// advance moves the cursor past e. It returns false if e is not after the cursor, since e was delivered before.
func (c *cursor) advance(e *Event) bool {
	if c.all {
		if c.any && e.Position.Compare(c.position) <= 0 {
			return false
		}
		c.position, c.passed, c.any = e.Position, e.Position, true
		return true
	}
	n := e.Original().Number
	if n <= c.number {
		return false
	}
	c.number = n
	return true
}

// pass moves the cursor to a position of $all up to which the server has looked at all events. It returns false if the
// cursor is there already.
func (c *cursor) pass(p Position) bool {
	if c.any && p.Compare(c.position) <= 0 {
		return false
	}
	c.position, c.passed, c.any = p, p, true
	return true
}

// skipTo moves to the end of the stream, or of the log, at the confirmation of f.
func (c *cursor) skipTo(f *feed) {
	if c.all {
		c.position, c.any = Position{Commit: f.position, Prepare: f.position}, true
		if c.next, c.passed = c.position, c.position; f.position < 0 {
			c.next, c.passed = StartPosition, UnknownPosition // the log is empty
		}
		return
	}
	c.number = f.last
}

// reaches reports whether no event is missing before the events of f.
func (c *cursor) reaches(f *feed) bool {
	if c.all {
		return c.next.Compare(Position{Commit: f.position, Prepare: f.position}) > 0
	}
	return c.number >= f.last
}

// tombstone reports whether the last event was the tombstone of the stream.
func (c *cursor) tombstone() bool { return !c.all && c.number == esproto.DeletedStream }
