package estest

// catchUp adds to the log what another one has beyond it. Where the other has not all of this one, this one begins
// anew: truncated is true then.
func (l *eventLog) catchUp(from *eventLog) (truncated bool) {
	if n := len(l.records); n > len(from.records) || n > 0 && !l.records[n-1].copies(from.records[n-1]) {
		l.forgetLog()
		truncated = true
	}
	for len(l.records) < len(from.records) {
		l.take(from.records[len(l.records):])
	}
	l.takeMarks(from.marks)
	l.end, l.lastCommit, l.lastEmpty, l.epoch = from.end, from.lastCommit, from.lastEmpty, from.epoch
	return truncated
}

// takeMarks makes the marks those of another log, which are the same up to where one of both has less.
func (l *eventLog) takeMarks(marks []int64) {
	n := min(len(l.marks), len(marks))
	for n > 0 && l.marks[n-1] != marks[n-1] {
		n--
	}
	l.marks = append(l.marks[:n], marks[n:]...)
}

// copies reports whether two records are the same one in the logs of two nodes.
func (r *record) copies(o *record) bool { return r.id == o.id && r.prepare == o.prepare }

// take shows the first of the records, and those behind it that are of the same stream.
func (l *eventLog) take(recs []*record) {
	s := l.streamFor(recs[0].stream.name)
	var own []*record
	for _, r := range recs {
		if r.stream != recs[0].stream {
			break
		}
		mine := *r
		mine.stream = s
		own = append(own, &mine)
	}
	l.commit(own)
}

// forgetLog empties the log. Nobody is told: whoever reads from it must be cut off.
func (l *eventLog) forgetLog() {
	clear(l.streams)
	l.records, l.marks, l.defaults = nil, nil, parseDefaults(nil)
	l.end, l.lastCommit, l.lastEmpty = firstPosition, -1, -1
	l.forgetIDs()
}

// share has a log, which is empty, know the users and the open transactions that another one knows, from now on.
func (l *eventLog) share(with *eventLog) { l.users, l.transact = with.users, with.transact }
