package eventlog

// CatchUp adds to the log what another one has beyond it. Where the other has not all of this one, this one begins
// anew: truncated is true then.
func (l *Log) CatchUp(from *Log) (truncated bool) {
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
func (l *Log) takeMarks(marks []int64) {
	n := min(len(l.marks), len(marks))
	for n > 0 && l.marks[n-1] != marks[n-1] {
		n--
	}
	l.marks = append(l.marks[:n], marks[n:]...)
}

// copies reports whether two records are the same one in the logs of two nodes.
func (r *Record) copies(o *Record) bool { return r.ID == o.ID && r.Prepare == o.Prepare }

// take shows the first of the records, and those behind it that are of the same stream.
func (l *Log) take(recs []*Record) {
	s := l.streamFor(recs[0].Stream.Name)
	var own []*Record
	for _, r := range recs {
		if r.Stream != recs[0].Stream {
			break
		}
		mine := *r
		mine.Stream = s
		own = append(own, &mine)
	}
	l.commit(own)
}

// forgetLog empties the log. Nobody is told: whoever reads from it must be cut off.
func (l *Log) forgetLog() {
	clear(l.streams)
	l.records, l.marks, l.defaults = nil, nil, parseDefaults(nil)
	l.end, l.lastCommit, l.lastEmpty = firstPosition, -1, -1
	l.ForgetIDs()
}

// Share has a log, which is empty, know the users and the open transactions that another one knows, from now on.
func (l *Log) Share(with *Log) { l.users, l.transact = with.users, with.transact }
