package estest

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// handlers are what the server does for each command. They run with core.mu held; an error is answered by BadRequest.
var handlers = map[esproto.Command]func(*conn, *frame) error{
	esproto.CmdPing:                     (*conn).ping,
	esproto.CmdWriteEvents:              (*conn).writeEvents,
	esproto.CmdDeleteStream:             (*conn).deleteStream,
	esproto.CmdTransactionStart:         (*conn).transactionStart,
	esproto.CmdTransactionWrite:         (*conn).transactionWrite,
	esproto.CmdTransactionCommit:        (*conn).transactionCommit,
	esproto.CmdReadEvent:                (*conn).readEvent,
	esproto.CmdReadStreamEventsForward:  (*conn).readStreamForward,
	esproto.CmdReadStreamEventsBackward: (*conn).readStreamBackward,
	esproto.CmdReadAllEventsForward:     (*conn).readAllForward,
	esproto.CmdReadAllEventsBackward:    (*conn).readAllBackward,
	esproto.CmdScavengeDatabase:         (*conn).scavenge,

	esproto.CmdSubscribeToStream:               (*conn).subscribe,
	esproto.CmdUnsubscribeFromStream:           (*conn).unsubscribe,
	esproto.CmdConnectToPersistentSubscription: (*conn).connectPersistent,
	esproto.CmdCreatePersistentSubscription:    (*conn).createPersistent,
	esproto.CmdUpdatePersistentSubscription:    (*conn).updatePersistent,
	esproto.CmdDeletePersistentSubscription:    (*conn).deletePersistent,
	esproto.CmdPersistentSubscriptionAckEvents: (*conn).ackPersistent,
	esproto.CmdPersistentSubscriptionNakEvents: (*conn).nakPersistent,

	// The server reads these, as its nodes send them to each other, and does nothing with them.
	esproto.CmdWriteEventsCompleted:       ignore[esproto.WriteEventsCompleted],
	esproto.CmdTransactionStartCompleted:  ignore[esproto.TransactionStartCompleted],
	esproto.CmdTransactionWriteCompleted:  ignore[esproto.TransactionWriteCompleted],
	esproto.CmdTransactionCommitCompleted: ignore[esproto.TransactionCommitCompleted],
	esproto.CmdDeleteStreamCompleted:      ignore[esproto.DeleteStreamCompleted],
	esproto.CmdNotHandled:                 ignore[esproto.NotHandled],
}

// ignore accepts a message if it is one.
func ignore[M any, P interface {
	*M
	proto.Message
}](_ *conn, f *frame) error {
	return proto.Unmarshal(f.payload, P(new(M)))
}

// handlersSince20 are those of commands that came with 20.6.
var handlersSince20 = map[esproto.Command]func(*conn, *frame) error{
	esproto.CmdFilteredReadAllEventsForward:  (*conn).readFilteredForward,
	esproto.CmdFilteredReadAllEventsBackward: (*conn).readFilteredBackward,
	esproto.CmdFilteredSubscribeToStream:     (*conn).subscribeFiltered,
}

// handle deals with one package. An error ends the connection.
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
	switch h.Command {
	case esproto.CmdHeartbeatRequest:
		if !c.srv.breathless.Load() {
			c.send(esproto.CmdHeartbeatResponse, f.id, nil)
		}
		return nil
	case esproto.CmdHeartbeatResponse, esproto.CmdBadRequest:
		return nil
	}
	if act := c.srv.intercepted(&f); act != nil {
		return act(c, &f)
	}
	c.core.mu.Lock()
	defer c.core.mu.Unlock()
	c.dispatch(&f)
	return nil
}

// dispatch serves a frame.
func (c *conn) dispatch(f *frame) {
	switch f.cmd {
	case esproto.CmdIdentifyClient:
		c.identify(f)
	case esproto.CmdAuthenticate:
		c.authenticate(f)
	default:
		c.operate(f)
	}
}

func (c *conn) operate(f *frame) {
	if c.unready(f) {
		return
	}
	user, ok := c.userOf(f.creds)
	if !ok {
		c.notAuthenticated(f.id, "Not Authenticated")
		return
	}
	if f.denied {
		user = nobody
	}
	f.user = user
	handler := handlers[f.cmd]
	if handler == nil && c.core.persona.hasFilters {
		handler = handlersSince20[f.cmd]
	}
	switch {
	case handler == nil:
		c.refuse(f, errors.New("the command is unknown"))
	case f.id.IsZero() && f.cmd != esproto.CmdPing:
		c.refuse(f, errors.New("the correlation id is empty"))
	case c.needsLookup(f):
		c.lookUp(f, handler)
	default:
		c.perform(f, handler)
	}
}

// perform serves a request whose sender is known.
func (c *conn) perform(f *frame, handle func(*conn, *frame) error) {
	var err error
	if n := c.srv.node; n != nil {
		err = n.serve(c, f, handle)
	} else {
		err = handle(c, f)
	}
	if err != nil {
		c.refuse(f, err)
	}
}

// refuse says that a request makes no sense.
func (c *conn) refuse(f *frame, err error) {
	name := c.core.persona.commandName(f.cmd)
	c.badRequest(f.id, fmt.Sprintf("Could not unwrap network package for command %s.\n%v", name, err))
}

// commandName is what the server calls a command: one that its version does not know has only a number.
func (p *persona) commandName(cmd esproto.Command) string {
	if !cmd.Known() || handlersSince20[cmd] != nil && !p.hasFilters {
		return strconv.Itoa(int(cmd))
	}
	return cmd.String()
}

func (c *conn) ping(f *frame) error {
	c.send(esproto.CmdPong, f.id, func(b []byte) []byte { return append(b, f.payload...) })
	return nil
}

func (c *conn) identify(f *frame) {
	var m esproto.IdentifyClient
	if proto.Unmarshal(f.payload, &m) != nil {
		return // as the real server: no reply at all
	}
	c.name, c.version = m.GetConnectionName(), uint8(m.GetVersion()) // the server cuts the version off, too
	c.mu.Lock()
	c.mute = c.version > esproto.IdentifyVersion
	c.mu.Unlock()
	c.send(esproto.CmdClientIdentified, f.id, nil)
}

// needsVersion reports whether what a command holds depends on the version that the client identified itself with. The
// real server has a table of replies for each version, and looks beyond its end for a version that is not there.
func needsVersion(cmd esproto.Command) bool {
	switch cmd {
	case esproto.CmdHeartbeatRequest, esproto.CmdHeartbeatResponse, esproto.CmdClientIdentified, esproto.CmdBadRequest,
		esproto.CmdAuthenticated, esproto.CmdNotAuthenticated:
		return false
	}
	return true
}

// narrow makes an event number fit the 32 bits of a client that did not identify itself. Servers from 22.10 have no
// such clients in mind.
func (c *conn) narrow(n int64) int64 {
	if c.version == 0 && c.core.persona.narrowsDeletedNumber && n == esproto.DeletedStream {
		return 1<<31 - 1
	}
	return n
}
