package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// caller is the client of a request: its user, the node that serves it, and its replier. Each connection has one. A
// request that another node serves has a copy with the core of that node. core.mu guards a caller.
type caller struct {
	core    *core   // of the node that serves
	to      replier // sends the replies
	id      string  // of the connection, in statistics
	addr    string  // of the client
	name    string  // of the connection, from IdentifyClient
	version uint8   // from IdentifyClient; without it event numbers have 32 bits
	*scratch
}

// scratch is memory that the next request of the client uses again.
type scratch struct {
	writes esproto.WriteEventsView
	events []eventlog.Event
	ackIDs []esproto.GUID
}

// replier takes the answers to a client.
type replier interface {
	// open begins a frame and returns the buffer to which the caller appends the payload. pushed says that the frame is
	// no answer. ok is false if the client must not have the frame; seal must not be called then.
	open(cmd esproto.Command, id esproto.CorrelationID, pushed bool) (b []byte, ok bool)
	// seal ends the frame. b is the buffer of open with the payload.
	seal(b []byte)
}

// nowhere is the replier for an answer that comes too late.
type nowhere struct{}

func (nowhere) open(esproto.Command, esproto.CorrelationID, bool) (b []byte, ok bool) {
	return nil, false
}
func (nowhere) seal([]byte) {}

// at returns the caller for a request that another node serves.
func (c *caller) at(core *core) *caller {
	there := *c
	there.core = core
	return &there
}

// unanswered returns the caller for a request whose answer the client must not get.
func (c *caller) unanswered() *caller {
	quiet := *c
	quiet.to = nowhere{}
	return &quiet
}

// send answers with a frame. encode appends the payload; it is nil for an empty one.
func (c *caller) send(cmd esproto.Command, id esproto.CorrelationID, encode func(b []byte) []byte) {
	c.frame(cmd, id, false, encode)
}

// push sends a frame that is no answer: an event or a checkpoint of a subscription.
func (c *caller) push(cmd esproto.Command, id esproto.CorrelationID, encode func(b []byte) []byte) {
	c.frame(cmd, id, true, encode)
}

func (c *caller) frame(
	cmd esproto.Command, id esproto.CorrelationID, pushed bool, encode func(b []byte) []byte,
) {
	b, ok := c.to.open(cmd, id, pushed)
	if !ok {
		return
	}
	if encode != nil {
		b = encode(b)
	}
	c.to.seal(b)
}

// reply answers with a message that has no hot codec of its own.
func (c *caller) reply(cmd esproto.Command, id esproto.CorrelationID, m proto.Message) {
	c.send(cmd, id, func(b []byte) []byte { return c.core.persona.marshal(b, m) })
}

func (c *caller) badRequest(id esproto.CorrelationID, text string) {
	c.send(esproto.CmdBadRequest, id, func(b []byte) []byte { return append(b, text...) })
}
