package eventstore

import (
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// plannedAppend is one append of a Publish call. Several appends write one stream if its messages are too large for
// one.
type plannedAppend struct {
	stream    string
	expected  esclient.ExpectedVersion
	events    []esclient.EventData
	messages  []*message.Message
	size      int
	continued bool // the next append is for the same stream
}

// follow sets the expected version after the append before, for the same stream, was written. If that expected an exact
// version, so does this one: no other writer can append in between.
func (a *plannedAppend) follow(expected esclient.ExpectedVersion, last int64) {
	if expected >= esclient.NoStream {
		a.expected = esclient.ExpectedVersion(last)
	}
}

func refuseNil(messages []*message.Message) error {
	for i, m := range messages {
		if m == nil {
			return &MarshalError{Err: fmt.Errorf("the message at index %d is nil", i)}
		}
	}
	return nil
}

// plan marshals all messages and groups them into appends, before anything is sent.
func (p *Publisher) plan(topic string, messages []*message.Message) ([]plannedAppend, error) {
	var order []string
	byStream := make(map[string][]plannedAppend)
	for _, m := range messages {
		var event esclient.EventData
		stream, err := p.event(&event, topic, m, nil)
		if err != nil {
			return nil, err
		}
		if err := esclient.ValidateAppend(stream, esclient.Any, event); err != nil {
			return nil, fmt.Errorf("message %q: %w", m.UUID, err)
		}
		if byStream[stream] == nil {
			order = append(order, stream)
		}
		byStream[stream] = addToPlan(byStream[stream], stream, m, event)
	}
	var all []plannedAppend
	for _, stream := range order {
		if err := p.expect(byStream[stream]); err != nil {
			return nil, err
		}
		all = append(all, byStream[stream]...)
	}
	return all, nil
}

// onePlan is the plan for a call with one message, the most common case. A pool reuses it.
type onePlan struct {
	appends  [1]plannedAppend
	events   [1]esclient.EventData
	metadata []byte // of the event, from DefaultMarshaler; unused after the call
}

var onePlans = sync.Pool{New: func() any { return new(onePlan) }}

// keptMetadata limits the memory for metadata that a pooled plan keeps.
const keptMetadata = 4 << 10

// planOne plans a call with one message.
func (p *Publisher) planOne(one *onePlan, topic string, messages []*message.Message) (err error) {
	a := &one.appends[0]
	a.messages, a.events = messages, one.events[:]
	if a.stream, err = p.event(&one.events[0], topic, messages[0], one.metadata); err != nil {
		return err
	}
	if p.own != nil {
		one.metadata = one.events[0].Metadata[:0]
	}
	a.expected, err = p.expected(messages, 0)
	return err
}

func (o *onePlan) release() {
	if cap(o.metadata) > keptMetadata {
		o.metadata = nil
	}
	*o = onePlan{metadata: o.metadata}
	onePlans.Put(o)
}

func addToPlan(appends []plannedAppend, stream string, m *message.Message, event esclient.EventData) []plannedAppend {
	size := esclient.AppendEventSize(&event)
	if n := len(appends); n == 0 || appends[n-1].size+size > esclient.MaxAppendSize {
		if n > 0 {
			appends[n-1].continued = true
		}
		appends = append(appends, plannedAppend{stream: stream, size: esclient.AppendSize(stream)})
	}
	a := &appends[len(appends)-1]
	a.size += size
	a.events = append(a.events, event)
	a.messages = append(a.messages, m)
	return appends
}

// expect sets the expected version of the appends to one stream, which is that of the first message. It returns an
// error if the version of a later message contradicts it.
func (p *Publisher) expect(appends []plannedAppend) error {
	var messages []*message.Message
	for i := range appends {
		messages = append(messages, appends[i].messages...)
	}
	first, err := p.expected(messages, 0)
	if err != nil {
		return err
	}
	for i := range appends {
		appends[i].expected = first
	}
	for i := 1; i < len(messages); i++ {
		if _, err := p.expected(messages, i); err != nil {
			return err
		}
	}
	return nil
}

// expected returns the version that message i of those for one stream expects.
func (p *Publisher) expected(messages []*message.Message, i int) (esclient.ExpectedVersion, error) {
	first, ok := expectedVersionFromCtx(messages[0].Context())
	if !ok {
		first = p.cfg.ExpectedVersion
	}
	if i == 0 {
		return first, nil
	}
	v, ok := expectedVersionFromCtx(messages[i].Context())
	if !ok || v == first || first >= esclient.NoStream && v == first+esclient.ExpectedVersion(i) {
		return v, nil
	}
	return 0, &esclient.ArgumentError{Argument: "messages", Reason: fmt.Sprintf(
		"message %q expects version %v after messages of the same stream that expect %v: publish it by itself",
		messages[i].UUID, v, first)}
}

// event makes the event of a message, which is empty before, and returns its stream. DefaultMarshaler appends the
// metadata to buf, which is empty.
func (p *Publisher) event(e *esclient.EventData, topic string, m *message.Message, buf []byte) (string, error) {
	stream, err := p.cfg.StreamName(topic, m)
	if err != nil {
		return "", fmt.Errorf("StreamName of message %q: %w", m.UUID, err)
	}
	p.delays.check(p.log, topic, m)
	if p.own != nil {
		err = p.own.marshal(e, m, buf)
	} else {
		*e, err = p.cfg.Marshaler.Marshal(topic, m)
	}
	if err != nil {
		return "", &MarshalError{MessageUUID: m.UUID, Err: err}
	}
	switch {
	case e.ID != uuid.Nil:
	case p.cfg.UseMessageUUIDAsEventID && m.UUID != "":
		e.ID = eventID(m.UUID)
	case p.cfg.RepublishUnknown:
		e.ID = uuid.New()
	}
	return stream, nil
}

// namespace hashes message UUIDs of other forms into event ids. It must never change.
var namespace = uuid.MustParse("7c2a3b1e-52a7-4c1f-9d0a-6f0e6a0f5b58")

func eventID(messageUUID string) uuid.UUID {
	// Parse accepts other forms too, such as urn:uuid:…, but different message UUIDs must give different ids.
	if id, err := uuid.Parse(messageUUID); err == nil && len(messageUUID) == 36 && id != uuid.Nil {
		return id
	}
	return uuid.NewSHA1(namespace, []byte(messageUUID))
}
