package estest

import (
	"errors"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
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
	reply := c.core.persona.writeReply(c.core.log.Append(f.user, w.StreamID, w.ExpectedVersion, events))
	c.send(esproto.CmdWriteEventsCompleted, f.id, func(b []byte) []byte {
		return reply.Append(b, c.core.persona.Style)
	})
	return nil
}

// checkWrite refuses a request that makes no sense to the server. least is the lowest expected version that it takes.
func checkWrite(stream string, expected, least int64) error {
	if stream == "" {
		return errors.New("the stream name is empty")
	}
	if expected < least || expected < esproto.ExpectAny && expected != esproto.ExpectStreamExists {
		return fmt.Errorf("%d is no expected version", expected)
	}
	return nil
}

// checkEvents appends the events of a request to events. It refuses all of them if one is wrong.
func (p *persona) checkEvents(views []esproto.NewEventView, events []eventlog.Event) ([]eventlog.Event, error) {
	for i := range views {
		v := &views[i]
		id, ok := esproto.ParseGUID(v.EventID)
		switch {
		case !ok || id == esproto.GUID{}:
			return nil, errors.New("an event id is empty or has not 16 bytes")
		case v.EventType == "":
			return nil, errors.New("an event type is empty")
		case p.eventSize(v) > esproto.MaxEventSize:
			return nil, errors.New("an event is too large")
		}
		events = append(events, eventlog.Event{
			ID: id, Type: v.EventType, JSON: v.DataContentType == esproto.ContentTypeJSON, Data: v.Data,
			Metadata: v.Metadata,
		})
	}
	return events, nil
}

// eventSize returns the size of an event that the server holds against its limit. Some versions count only the data,
// by mistake.
func (p *persona) eventSize(v *esproto.NewEventView) int {
	if p.onlyDataCounts {
		return len(v.Data)
	}
	return len(v.Data) + len(v.Metadata) + 2*len(v.EventType)
}

// writeReply returns the reply to a write.
func (p *persona) writeReply(o eventlog.Outcome) esproto.WriteEventsCompletedView {
	reply := esproto.WriteEventsCompletedView{
		Result: o.Result, FirstEventNumber: o.First, LastEventNumber: o.Last, PreparePosition: o.Prepare,
		CommitPosition: o.Commit,
	}
	if o.Result != esproto.OperationResult_Success {
		reply.Message, reply.CurrentVersion = p.refusalOf(o.Result), o.Current
		reply.PreparePosition, reply.CommitPosition = esproto.InvalidEventNumber, 0
	}
	return reply
}

// refusalOf returns the text in the reply to a write that the server refuses.
func (p *persona) refusalOf(result esproto.OperationResult) string {
	switch result {
	case esproto.OperationResult_AccessDenied:
		return p.DeniedText
	case esproto.OperationResult_StreamDeleted:
		return "Stream is deleted."
	case esproto.OperationResult_WrongExpectedVersion:
		return "Wrong expected version."
	case commitTimeout:
		return textCommitTimeout
	}
	return ""
}
