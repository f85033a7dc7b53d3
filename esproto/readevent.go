package esproto

// AppendReadEvent appends a ReadEvent message. The event number -1 is the stream's last event.
func AppendReadEvent(b []byte, stream string, number int64, resolveLinkTos, requireLeader bool) []byte {
	b = appendBytes(b, 1, stream)
	b = appendInt(b, 2, number)
	b = appendBool(b, 3, resolveLinkTos)
	return appendBool(b, 4, requireLeader)
}

// ReadEventCompletedView is a ReadEventCompleted that aliases its frame.
type ReadEventCompletedView struct {
	Result ReadEventCompleted_ReadEventResult
	Event  EventView // without event and link if there is none
	Error  string
}

// Decode reads a ReadEventCompleted. It clears r first.
func (r *ReadEventCompletedView) Decode(b []byte) error {
	*r = ReadEventCompletedView{}
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireVarint:
			r.Result = ReadEventCompleted_ReadEventResult(n)
		case 2<<3 | wireBytes:
			if err := r.Event.Decode(v); err != nil {
				return err
			}
		case 3<<3 | wireBytes:
			r.Error = text(v)
		}
	}
	return end(b, i)
}
