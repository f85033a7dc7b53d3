package estest

import (
	"errors"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Texts of failed writes.
const (
	textWrongVersion = "Wrong expected version."
	textDeleted      = "Stream is deleted."
)

func (c *caller) writeEvents(f *frame) error {
	w := &c.writes
	if err := w.Decode(f.payload); err != nil {
		return err
	}
	if err := checkWrite(w.StreamID, w.ExpectedVersion, esproto.ExpectStreamExists); err != nil {
		return err
	}
	events, err := c.core.persona.checkEvents(w.Events, c.events[:0])
	c.events = events
	if err != nil {
		return err
	}
	reply := c.core.appendEvents(f.user, w.StreamID, w.ExpectedVersion, events)
	c.send(esproto.CmdWriteEventsCompleted, f.id, func(b []byte) []byte {
		return reply.Append(b, c.core.persona.style)
	})
	return nil
}

// checkWrite refuses what the real server cannot make a request of. least is the lowest expected version there is.
func checkWrite(stream string, expected, least int64) error {
	if stream == "" {
		return errors.New("the stream name is empty")
	}
	if expected < least || expected < esproto.ExpectAny && expected != esproto.ExpectStreamExists {
		return fmt.Errorf("%d is no expected version", expected)
	}
	return nil
}

// checkEvents appends the events of a request to events, unless one of them is refused.
func (f *facts) checkEvents(views []esproto.NewEventView, events []event) ([]event, error) {
	for i := range views {
		v := &views[i]
		id, ok := esproto.ParseGUID(v.EventID)
		switch {
		case !ok || id == esproto.GUID{}:
			return nil, errors.New("an event id is empty or has not 16 bytes")
		case v.EventType == "":
			return nil, errors.New("an event type is empty")
		case f.eventSize(v) > esproto.MaxEventSize:
			return nil, errors.New("an event is too large")
		}
		events = append(events, event{
			id: id, typ: v.EventType, json: v.DataContentType == esproto.ContentTypeJSON, data: v.Data,
			metadata: v.Metadata,
		})
	}
	return events, nil
}

// eventSize is the size of an event for which servers have a limit. Some forget all but the data, by an operator that
// binds otherwise than it looks.
func (f *facts) eventSize(v *esproto.NewEventView) int {
	if f.onlyDataCounts {
		return len(v.Data)
	}
	return len(v.Data) + len(v.Metadata) + 2*len(v.EventType)
}

// appendEvents is WriteEvents: rights, then the decision table, then the write.
func (l *eventLog) appendEvents(u *user, name string, expected int64, events []event) esproto.WriteEventsCompletedView {
	if !l.allowed(u, rightWrite, name) {
		return failedWrite(esproto.OperationResult_AccessDenied, l.facts.deniedText, -1)
	}
	d := l.decide(name, expected, idsOf(events))
	switch d.kind {
	case decideDeleted:
		return failedWrite(esproto.OperationResult_StreamDeleted, textDeleted, -1)
	case decideWrong:
		return failedWrite(esproto.OperationResult_WrongExpectedVersion, textWrongVersion, d.current)
	case decideKnown:
		pos := l.knownPosition(&d)
		return esproto.WriteEventsCompletedView{
			FirstEventNumber: d.first, LastEventNumber: d.last, PreparePosition: pos, CommitPosition: pos,
		}
	}
	pos := l.write(name, events)
	return esproto.WriteEventsCompletedView{
		FirstEventNumber: d.current + 1, LastEventNumber: d.current + int64(len(events)), PreparePosition: pos,
		CommitPosition: pos,
	}
}

func idsOf(events []event) func(i int) (esproto.GUID, bool) {
	return func(i int) (esproto.GUID, bool) {
		if i >= len(events) {
			return esproto.GUID{}, false
		}
		return events[i].id, true
	}
}

// knownPosition is the position that the reply to a repeated write has: where the last event that was found is in the
// log, also if it was committed later; -1 if that event cannot be read any more, or if the server does not tell it.
func (l *eventLog) knownPosition(d *decision) int64 {
	r := d.lastKnown
	if !l.facts.knownWriteHasPosition || r.stream.softDeleted() || r.stream.visible(r.number, l.now()) == nil {
		return -1
	}
	return r.prepare
}

// write appends events to a stream that may be written to, and returns the position of the last one.
func (l *eventLog) write(name string, events []event) int64 {
	if len(events) == 0 {
		return l.writeNothing(name)
	}
	s := l.streamFor(name)
	soft, revived, next := s.softDeleted(), l.revivedBy(name), s.last()+1
	recs, created := l.written[:0], l.ticks()
	for i := range events {
		recs = append(recs, l.newRecord(s, next+int64(i), &events[i], created))
	}
	l.written = recs
	l.commit(recs)
	last := recs[len(recs)-1]
	if soft {
		l.showFrom(s, next)
	}
	if revived != nil {
		l.showFrom(revived, revived.last()+1)
	}
	return last.commit
}

// writeNothing is the write of an empty list: it takes a place in the log but makes no event. It brings a soft-deleted
// stream back all the same.
func (l *eventLog) writeNothing(name string) int64 {
	pos := l.takePlace(recordSize(name, "", 0))
	l.lastEmpty = pos
	if s := l.stream(name); s != nil && s.softDeleted() {
		l.showFrom(s, s.last()+1)
	}
	if s := l.revivedBy(name); s != nil {
		l.showFrom(s, s.last()+1)
	}
	l.tell(commit{})
	return pos
}

func failedWrite(result esproto.OperationResult, text string, current int64) esproto.WriteEventsCompletedView {
	return esproto.WriteEventsCompletedView{
		Result: result, Message: text, CurrentVersion: current, PreparePosition: esproto.InvalidEventNumber,
		FirstEventNumber: esproto.InvalidEventNumber, LastEventNumber: esproto.InvalidEventNumber,
	}
}
