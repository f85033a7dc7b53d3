package eventlog

// CatchUp copies the records of another log that this one lacks. If this log has records that the other lacks, it
// begins again, and truncated is true.
func (l *Log) CatchUp(from *Log) (truncated bool) {
	if n := l.records.Len(); n > from.records.Len() || n > 0 && !l.records.At(n-1).copies(from.records.At(n-1)) {
		l.forgetLog()
		truncated = true
	}
	for l.records.Len() < from.records.Len() {
		l.take(&from.records)
	}
	l.takeMarks(from.marks)
	l.end, l.lastCommit, l.lastEmpty, l.epoch = from.end, from.lastCommit, from.lastEmpty, from.epoch
	return truncated
}

// takeMarks copies the marks of another log. The marks of both are the same up to some place.
func (l *Log) takeMarks(marks []int64) {
	n := min(len(l.marks), len(marks))
	for n > 0 && l.marks[n-1] != marks[n-1] {
		n--
	}
	l.marks = append(l.marks[:n], marks[n:]...)
}

// copies reports whether two records are the same in the logs of two nodes.
func (r *Record) copies(o *Record) bool { return r.ID == o.ID && r.Prepare == o.Prepare }

// take copies and commits the next records of another log that belong to one stream.
func (l *Log) take(from *RecordList) {
	theirs := from.At(l.records.Len()).Stream
	s := l.streamFor(theirs.Name)
	var own []*Record
	for _, r := range from.From(l.records.Len()) {
		if r.Stream != theirs {
			break
		}
		mine := *r
		mine.Stream = s
		own = append(own, &mine)
	}
	l.commit(own)
}

// forgetLog empties the log. It tells no observer: the owner must cut off all readers.
func (l *Log) forgetLog() {
	clear(l.streams)
	l.latest = nil
	l.records, l.marks, l.defaults = RecordList{}, nil, parseDefaults(nil)
	l.end, l.lastCommit, l.lastEmpty = firstPosition, -1, -1
	l.ForgetIDs()
}

// Share gives an empty log the users and the open transactions of another one. The two share them from now on.
func (l *Log) Share(with *Log) { l.users, l.transact = with.users, with.transact }
