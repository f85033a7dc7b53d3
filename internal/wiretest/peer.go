package wiretest

import (
	"net"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

const readBuffer = 4096

// Frame is a frame that a peer has received.
type Frame struct {
	esproto.Header
	Payload []byte // credentials included
}

// Peer is the server's end of a connection. Only its Write and Send may be called by several goroutines.
type Peer struct {
	net.Conn
	Number int                  // which of its listener's connections it is, from 1
	Frames *esproto.FrameReader // of the received bytes, for tests that inspect all of them
}

// NewPeer plays the end of a connection that no Listener took.
func NewPeer(nc net.Conn) *Peer {
	return &Peer{Conn: nc, Number: 1, Frames: esproto.NewFrameReader(nc, readBuffer, 0)}
}

// Next returns the next frame that is no heartbeat, and answers those.
func (p *Peer) Next() (Frame, error) {
	for {
		h, _, err := p.Frames.Next()
		if err != nil {
			return Frame{}, err
		}
		payload, err := p.Frames.Take()
		if err != nil {
			return Frame{}, err
		}
		switch h.Command {
		case esproto.CmdHeartbeatRequest, esproto.CmdHeartbeatResponse:
			p.Greet(h)
		default:
			return Frame{h, payload}, nil
		}
	}
}

// Send sends a frame. A client that is gone gets nothing.
func (p *Peer) Send(cmd esproto.Command, id esproto.CorrelationID, payload []byte) {
	_, _ = p.Write(esproto.AppendFrame(nil, cmd, id, payload))
}

// Greet answers a frame that every client sends on its own, and reports whether it is one; see AppendGreeting.
func (p *Peer) Greet(h esproto.Header) bool {
	b, ok := AppendGreeting(nil, h)
	if len(b) > 0 {
		_, _ = p.Write(b)
	}
	return ok
}

// Echo answers pings, and the frames that Greet answers, until the connection ends.
func (p *Peer) Echo() {
	for {
		f, err := p.Next()
		if err != nil {
			return
		}
		p.Reply(f)
	}
}

// Reply answers a ping, or a frame that Greet answers.
func (p *Peer) Reply(f Frame) {
	if f.Command == esproto.CmdPing {
		p.Send(esproto.CmdPong, f.CorrelationID, f.Payload)
		return
	}
	p.Greet(f.Header)
}

// AppendGreeting appends the server's answer to a heartbeat, to credentials that it accepts, or to the client's name.
// It returns false for any other frame.
func AppendGreeting(b []byte, h esproto.Header) ([]byte, bool) {
	switch h.Command {
	case esproto.CmdHeartbeatRequest:
		return esproto.AppendFrame(b, esproto.CmdHeartbeatResponse, h.CorrelationID, nil), true
	case esproto.CmdHeartbeatResponse:
		return b, true
	case esproto.CmdAuthenticate:
		return esproto.AppendFrame(b, esproto.CmdAuthenticated, h.CorrelationID, nil), true
	case esproto.CmdIdentifyClient:
		return esproto.AppendFrame(b, esproto.CmdClientIdentified, h.CorrelationID, nil), true
	}
	return b, false
}
