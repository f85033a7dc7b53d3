package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// caller is a client as the requests see it that a node serves for it. Each connection has one; a request that another
// node serves has a copy, as that writes into another log. core.mu guards it.
type caller struct {
	core    *core   // of the node that serves
	to      replier // where answers go
	id      string  // of the connection, as statistics tell it
	addr    string  // of the client
	name    string  // as IdentifyClient says
	version uint8   // as IdentifyClient says; without it event numbers have 32 bits
	*scratch
}

// scratch is memory that a client's next request uses again.
type scratch struct {
	writes esproto.WriteEventsView
	events []eventlog.Event
	ackIDs []esproto.GUID
}

// replier is where the answers to a client go.
type replier interface {
	// open begins a frame and returns the buffer to which its payload is to be appended. pushed says that the client
	// does not wait for it. ok is false if the client is not to have the frame, and seal is not to be called then.
	open(cmd esproto.Command, id esproto.CorrelationID, pushed bool) (b []byte, ok bool)
	// seal ends the frame.
	seal(b []byte)
}

// nowhere is where answers go that come too late.
type nowhere struct{}

func (nowhere) open(esproto.Command, esproto.CorrelationID, bool) (b []byte, ok bool) {
	return nil, false
}
func (nowhere) seal([]byte) {}

// at returns the client as another node sees it that serves a request for it.
func (c *caller) at(core *core) *caller {
	there := *c
	there.core = core
	return &there
}

// unanswered returns the client for a request whose answer it must not get any more.
func (c *caller) unanswered() *caller {
	quiet := *c
	quiet.to = nowhere{}
	return &quiet
}

// send answers with a frame; encode appends the payload, and is nil if that is empty.
func (c *caller) send(cmd esproto.Command, id esproto.CorrelationID, encode func(b []byte) []byte) {
	c.frame(cmd, id, false, encode)
}

// push sends a frame that the client does not wait for.
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
