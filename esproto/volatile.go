package esproto

// DecodeStreamEventAppeared reads a StreamEventAppeared into e, which aliases b.
func DecodeStreamEventAppeared(b []byte, e *EventView) error {
	*e = EventView{}
	i := 0
	for i < len(b) {
		tag, _, v, next := nextField(b, i)
		if i = next; tag == 1<<3|wireBytes {
			if err := e.Decode(v); err != nil {
				return err
			}
		}
	}
	return end(b, i)
}

// AppendStreamEventAppeared appends a StreamEventAppeared message of encoded EventRecords; nil means absent.
func AppendStreamEventAppeared(b, event, link []byte, commit, prepare int64, style Style) []byte {
	return AppendPositionedEvent(b, 1, event, link, commit, prepare, style)
}
