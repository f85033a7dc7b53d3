package estest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// kind is what a request needs of the node that serves it.
type kind int

const (
	anyNode   kind = iota
	readKind       // a node that need not be the leader unless the request demands it
	writeKind      // the leader, but another node forwards it unless the request demands the leader
	groupKind      // the leader
	groupWriteKind
	ackKind // the leader; others ignore it
	nakKind // the same, and it may write: it parks events
)

// need is the kind of a request, and the field in which it demands the leader; 0 without one.
type need struct {
	kind   kind
	leader protowire.Number
}

var needs = map[esproto.Command]need{
	esproto.CmdWriteEvents:       {writeKind, 4},
	esproto.CmdDeleteStream:      {writeKind, 3},
	esproto.CmdTransactionStart:  {writeKind, 3},
	esproto.CmdTransactionWrite:  {writeKind, 3},
	esproto.CmdTransactionCommit: {writeKind, 2},

	esproto.CmdReadEvent:                     {readKind, 4},
	esproto.CmdReadStreamEventsForward:       {readKind, 5},
	esproto.CmdReadStreamEventsBackward:      {readKind, 5},
	esproto.CmdReadAllEventsForward:          {readKind, 5},
	esproto.CmdReadAllEventsBackward:         {readKind, 5},
	esproto.CmdFilteredReadAllEventsForward:  {readKind, 6},
	esproto.CmdFilteredReadAllEventsBackward: {readKind, 6},

	esproto.CmdConnectToPersistentSubscription: {kind: groupKind},
	esproto.CmdCreatePersistentSubscription:    {kind: groupWriteKind},
	esproto.CmdUpdatePersistentSubscription:    {kind: groupWriteKind},
	esproto.CmdDeletePersistentSubscription:    {kind: groupWriteKind},
	esproto.CmdPersistentSubscriptionAckEvents: {kind: ackKind},
	esproto.CmdPersistentSubscriptionNakEvents: {kind: nakKind},
}

// demandsLeader reports whether a request says that only the leader will do.
func (n need) demandsLeader(payload []byte) bool {
	for len(payload) > 0 {
		number, typ, size := protowire.ConsumeTag(payload)
		if size < 0 {
			return false
		}
		payload = payload[size:]
		if number == n.leader && typ == protowire.VarintType {
			v, size := protowire.ConsumeVarint(payload)
			return size > 0 && v != 0
		}
		if size = protowire.ConsumeFieldValue(number, typ, payload); size < 0 {
			return false
		}
		payload = payload[size:]
	}
	return false
}

// serve handles a request by what the node is: itself, by the leader, later, or not at all.
func (n *node) serve(c *conn, f *frame, handle func(*conn, *frame) error) error {
	need := needs[f.cmd]
	switch {
	case !n.up:
		return nil // the process has ended
	case need.kind == anyNode:
		return handle(c, f)
	case n.role == RoleLeader:
		return n.serveAsLeader(need, c, f, handle)
	case need.kind == ackKind, need.kind == nakKind:
		return nil
	}
	demanding := need.kind == groupKind || need.kind == groupWriteKind || need.demandsLeader(f.payload)
	switch {
	case need.kind == readKind && !demanding:
		return handle(c, f)
	case n.leader == nil, !demanding && n.leader.core.stopping:
		c.notHandled(f.id, esproto.NotHandled_NotReady, nil)
	case demanding:
		c.notHandled(f.id, esproto.NotHandled_NotLeader, n.leader.info())
	default:
		l := n.leader
		return l.serveAsLeader(need, c.forwardedTo(l.core), f, handle)
	}
	return nil
}

func (n *node) serveAsLeader(need need, c *conn, f *frame, handle func(*conn, *frame) error) error {
	writes := need.kind == writeKind || need.kind == groupWriteKind || need.kind == nakKind
	if n.quorum || !writes {
		return handle(c, f)
	}
	n.hold(c, f, handle)
	return nil
}

// writer returns the core that writes for a server: its own, or that of the leader; nil while there is none with a
// majority.
func (s *Server) writer() *core {
	if s.node == nil {
		return s.core
	}
	if l := s.node.leader; l != nil && l.quorum {
		return l.core
	}
	return nil
}

// forwardedTo returns a stand-in for a connection, at another node.
func (c *conn) forwardedTo(core *core) *conn {
	return &conn{srv: c.srv, core: core, version: c.version, via: c}
}

func (c *conn) notHandled(id esproto.CorrelationID, reason esproto.NotHandled_NotHandledReason, info []byte) {
	c.reply(esproto.CmdNotHandled, id, &esproto.NotHandled{Reason: reason.Enum(), AdditionalInfo: info})
}

// info is where a node is to be found, as others tell it when they refuse what only the leader may do.
func (n *node) info() []byte {
	info := n.core.persona.leaderInfo(n.addr, n.web, n.srv.cfg.tls)
	if n.cluster.info != nil {
		n.cluster.info(info)
	}
	return n.core.persona.marshal(nil, info)
}

// Limits of what a leader without a majority does with writes.
const (
	writeTimeout = 2 * time.Second
	maxHeld      = 10_000
)

// heldWrite is a write that waits for a majority. After answerAt its client knows that it may or may not be written.
type heldWrite struct {
	conn     *conn
	frame    frame
	handle   func(*conn, *frame) error
	answerAt time.Time // zero once that was said
}

func (n *node) hold(c *conn, f *frame, handle func(*conn, *frame) error) {
	if len(n.held) >= maxHeld {
		c.notHandled(f.id, esproto.NotHandled_TooBusy, nil)
		return
	}
	w := &heldWrite{conn: c, frame: *f, handle: handle, answerAt: n.core.now().Add(writeTimeout)}
	w.frame.payload = slices.Clone(f.payload)
	n.held = append(n.held, w)
	n.cluster.schedule()
}

// writeHeld writes what a leader held until it found a majority. Who was told already hears nothing more.
func (n *node) writeHeld() {
	held := n.held
	n.held, n.lost = nil, false
	for _, w := range held {
		c := w.conn
		if w.answerAt.IsZero() {
			c = &conn{srv: c.srv, core: n.core, version: c.version, mute: true}
		}
		if err := w.handle(c, &w.frame); err != nil {
			c.refuse(&w.frame, err)
		}
	}
}

// answerLate answers what has been held for too long. It may still be written.
func (n *node) answerLate(now time.Time) {
	if n.paused {
		return
	}
	for _, w := range n.held {
		if !w.answerAt.IsZero() && !now.Before(w.answerAt) {
			w.answerAt = time.Time{}
			w.conn.timedOut(&w.frame)
		}
	}
}

const textCommitTimeout = "Commit phase timeout."

// timedOut says that a write could not be done in time. For changes of groups the server has no such reply.
func (c *conn) timedOut(f *frame) {
	result := esproto.OperationResult_CommitTimeout
	switch f.cmd {
	case esproto.CmdWriteEvents:
		reply := failedWrite(result, textCommitTimeout, -1)
		c.send(esproto.CmdWriteEventsCompleted, f.id, func(b []byte) []byte {
			return reply.Append(b, c.core.persona.style)
		})
	case esproto.CmdDeleteStream:
		c.reply(esproto.CmdDeleteStreamCompleted, f.id, c.core.failedDelete(result, textCommitTimeout, -1))
	case esproto.CmdTransactionStart:
		c.reply(esproto.CmdTransactionStartCompleted, f.id, &esproto.TransactionStartCompleted{
			TransactionId: proto.Int64(-1), Result: result.Enum(), Message: proto.String(textCommitTimeout),
		})
	case esproto.CmdTransactionWrite:
		c.reply(esproto.CmdTransactionWriteCompleted, f.id, &esproto.TransactionWriteCompleted{
			TransactionId: proto.Int64(-1), Result: result.Enum(), Message: proto.String(textCommitTimeout),
		})
	case esproto.CmdTransactionCommit:
		c.reply(esproto.CmdTransactionCommitCompleted, f.id, failedCommit(-1, result, textCommitTimeout))
	}
}
