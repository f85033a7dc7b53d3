package estest

// catchUp adds to the log what another one has beyond it. Where the other has not all of this one, this one begins
// anew: truncated is true then.
func (c *core) catchUp(from *core) (truncated bool) {
	if n := len(c.log); n > len(from.log) || n > 0 && !c.log[n-1].copies(from.log[n-1]) {
		c.forgetLog()
		truncated = true
	}
	for len(c.log) < len(from.log) {
		c.take(from.log[len(c.log):])
	}
	c.takeMarks(from.marks)
	c.end, c.lastCommit, c.lastEmpty, c.epoch = from.end, from.lastCommit, from.lastEmpty, from.epoch
	return truncated
}

// takeMarks makes the marks those of another log, which are the same up to where one of both has less.
func (c *core) takeMarks(marks []int64) {
	n := min(len(c.marks), len(marks))
	for n > 0 && c.marks[n-1] != marks[n-1] {
		n--
	}
	c.marks = append(c.marks[:n], marks[n:]...)
}

// copies reports whether two records are the same one in the logs of two nodes.
func (r *record) copies(o *record) bool { return r.id == o.id && r.prepare == o.prepare }

// take shows the first of the records, and those behind it that are of the same stream.
func (c *core) take(recs []*record) {
	s := c.streamFor(recs[0].stream.name)
	var own []*record
	for _, r := range recs {
		if r.stream != recs[0].stream {
			break
		}
		mine := *r
		mine.stream = s
		own = append(own, &mine)
	}
	c.commit(own)
}

// forgetLog empties the log. Nobody is told: whoever reads from it must be cut off.
func (c *core) forgetLog() {
	clear(c.streams)
	c.log, c.marks, c.defaults = nil, nil, parseDefaults(nil)
	c.end, c.lastCommit, c.lastEmpty = firstPosition, -1, -1
	c.ids.clear()
}

// dropGroups ends the groups of a node that leads no longer. Their clients are unsubscribed.
func (c *core) dropGroups() {
	for _, g := range c.groups {
		c.dropClients(g)
	}
	c.forgetGroups()
}

func (c *core) forgetGroups() {
	clear(c.groups)
	clear(c.byGroup)
	clear(c.onAll)
	c.listed = nil
}
