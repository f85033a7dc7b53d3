package esclient

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// cursor is how far a subscription has got.
type cursor struct {
	all      bool
	number   int64    // of the last event of the stream that was delivered or is not wanted; -1 for none
	position Position // likewise in $all
	any      bool     // position is set; before that everything in $all is wanted
	next     Position // where to read $all on
	passed   Position // in $all, of the last event that was delivered or looked at; UnknownPosition before any
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

// advance moves behind e. It returns false if e lies at or before the cursor: it was delivered already.
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

// pass moves to where the server has looked at everything, in $all. It returns false if the cursor is there already.
func (c *cursor) pass(p Position) bool {
	if c.any && p.Compare(c.position) <= 0 {
		return false
	}
	c.position, c.passed, c.any = p, p, true
	return true
}

// skipTo moves to the end of what there was when f was confirmed.
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

// reaches reports whether nothing that came before the confirmation of f is missing.
func (c *cursor) reaches(f *feed) bool {
	if c.all {
		return c.next.Compare(Position{Commit: f.position, Prepare: f.position}) > 0
	}
	return c.number >= f.last
}

// tombstone reports whether the last event was the one that ends a stream for good.
func (c *cursor) tombstone() bool { return !c.all && c.number == esproto.DeletedStream }
