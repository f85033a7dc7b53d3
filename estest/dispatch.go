package estest

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// handle serves a frame, or gives it to a rule of Intercept. An error ends the connection.
func (c *conn) handle(h esproto.Header, payload []byte) error {
	c.srv.traffic.framesIn[h.Command].Add(1)
	if h.Flags&esproto.FlagTrustedWrite != 0 {
		return c.reject(h.CorrelationID, "Trusted writes aren't accepted over the external TCP interface")
	}
	f := frame{cmd: h.Command, id: h.CorrelationID, payload: payload}
	if h.Flags&esproto.FlagAuthenticated != 0 {
		cr, rest, ok := c.core.persona.credentials(payload)
		if !ok {
			return c.reject(esproto.CorrelationID{}, "Invalid package: the credentials do not fit")
		}
		f.creds, f.payload = &cr, rest
	}
	if cmd := commands[f.cmd]; cmd != nil && cmd.stage == lifeSign {
		return cmd.attend(c, &f)
	}
	if act := c.srv.intercepted(&f); act != nil {
		return act(c, &f)
	}
	if c.srv.lockAwake(c.ended) {
		defer c.core.mu.Unlock()
		c.dispatch(&f)
	}
	return nil
}

// dispatch serves a frame. core.mu is held.
func (c *conn) dispatch(f *frame) {
	cmd := c.core.persona.command(f.cmd)
	switch {
	case cmd != nil && cmd.stage == greeting:
		_ = cmd.attend(c, f) // an error has no reply
	case c.unready(cmd, f):
	default:
		c.operate(cmd, f)
	}
}

// operate serves an operation. cmd is nil if the server does not know the command.
func (c *conn) operate(cmd *command, f *frame) {
	user, ok := c.userOf(f.creds)
	if !ok {
		c.notAuthenticated(f.id, "Not Authenticated")
		return
	}
	if f.denied {
		user = eventlog.NoRights
	}
	f.user = user
	switch {
	case cmd == nil:
		c.refuse(f, errors.New("the command is unknown"))
	case f.id.IsZero() && !cmd.needsNoID:
		c.refuse(f, errors.New("the correlation id is empty"))
	case c.needsLookup(cmd, f):
		c.lookUp(cmd, f)
	default:
		c.perform(cmd, f)
	}
}

// perform serves a request whose user is known.
func (c *conn) perform(cmd *command, f *frame) {
	var err error
	if n := c.srv.node; n != nil {
		err = n.serve(&c.caller, cmd, f)
	} else {
		err = cmd.serve(&c.caller, f)
	}
	if err != nil {
		c.refuse(f, err)
	}
}

// refuse answers that a request makes no sense.
func (c *caller) refuse(f *frame, err error) {
	name := c.core.persona.commandName(f.cmd)
	c.badRequest(f.id, fmt.Sprintf("Could not unwrap network package for command %s.\n%v", name, err))
}

// commandName returns the name that the server has for a command, or its number if the version does not know it.
func (p *persona) commandName(cmd esproto.Command) string {
	if !cmd.Known() || commands[cmd] != nil && p.command(cmd) == nil {
		return strconv.Itoa(int(cmd))
	}
	return cmd.String()
}

func (c *conn) heartbeat(f *frame) error {
	if !c.srv.heartbeatsHeld.Load() {
		c.send(esproto.CmdHeartbeatResponse, f.id, nil)
	}
	return nil
}

func (c *caller) ping(f *frame) error {
	c.send(esproto.CmdPong, f.id, func(b []byte) []byte { return append(b, f.payload...) })
	return nil
}

func (c *conn) identify(f *frame) error {
	var m esproto.IdentifyClient
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err // the server has no reply for it
	}
	c.name, c.version = m.GetConnectionName(), uint8(m.GetVersion()) // the server keeps 8 bits, too
	c.mu.Lock()
	c.mute = c.version > esproto.IdentifyVersion
	c.mu.Unlock()
	c.send(esproto.CmdClientIdentified, f.id, nil)
	return nil
}

// needsVersion reports whether the payload of a command depends on the version in IdentifyClient. The real server has a
// table of encoders for each version, and finds none for a version that it does not know.
func needsVersion(cmd esproto.Command) bool {
	switch cmd {
	case esproto.CmdHeartbeatRequest, esproto.CmdHeartbeatResponse, esproto.CmdClientIdentified, esproto.CmdBadRequest,
		esproto.CmdAuthenticated, esproto.CmdNotAuthenticated:
		return false
	}
	return true
}

// narrow fits an event number into the 32 bits of a client that sent no IdentifyClient.
func (c *caller) narrow(n int64) int64 {
	if c.version == 0 && c.core.persona.narrowsDeletedNumber && n == esproto.DeletedStream {
		return 1<<31 - 1
	}
	return n
}
