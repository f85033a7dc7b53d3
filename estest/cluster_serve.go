package estest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// demandsLeader reports whether a request says that only the leader will do.
func (cmd *command) demandsLeader(payload []byte) bool {
	for len(payload) > 0 {
		number, typ, size := protowire.ConsumeTag(payload)
		if size < 0 {
			return false
		}
		payload = payload[size:]
		if number == cmd.leader && typ == protowire.VarintType {
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

// serve handles a request according to the node's state: itself, by the leader, later, or not at all.
func (n *node) serve(c *caller, cmd *command, f *frame) error {
	switch {
	case !n.up:
		return nil // the process has ended
	case cmd.node == anyNode:
		return cmd.serve(c, f)
	case n.role == RoleLeader:
		return n.serveAsLeader(c, cmd, f)
	case cmd.node == leaderSilently:
		return nil
	}
	demanding := cmd.node == leaderOnly || cmd.demandsLeader(f.payload)
	switch {
	case cmd.node == anyOrDemanded && !demanding:
		return cmd.serve(c, f)
	case n.leader == nil, !demanding && n.leader.core.stopping:
		c.notHandled(f.id, esproto.NotHandled_NotReady, nil)
	case demanding:
		c.notHandled(f.id, esproto.NotHandled_NotLeader, n.leader.info())
	default:
		l := n.leader
		return l.serveAsLeader(c.at(l.core), cmd, f)
	}
	return nil
}

func (n *node) serveAsLeader(c *caller, cmd *command, f *frame) error {
	if n.quorum || !cmd.writes {
		return cmd.serve(c, f)
	}
	n.hold(c, cmd, f)
	return nil
}

// writer returns the core that writes for a server: its own, or that of the leader. It is nil while no leader has a
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

func (c *caller) notHandled(id esproto.CorrelationID, reason esproto.NotHandled_NotHandledReason, info []byte) {
	c.reply(esproto.CmdNotHandled, id, &esproto.NotHandled{Reason: reason.Enum(), AdditionalInfo: info})
}

// info returns the addresses of a node, for a refusal of a request that only the leader may serve.
func (n *node) info() []byte {
	info := n.core.persona.leaderInfo(n.addr, n.web, n.srv.cfg.tls)
	if n.cluster.info != nil {
		n.cluster.info(&info)
	}
	return n.core.persona.marshal(nil, info.wire())
}

// Limits for writes at a leader without a majority.
const (
	writeTimeout = 2 * time.Second
	maxHeld      = 10_000
)

// heldWrite is a write that waits for a majority. At answerAt the server answers that the outcome is unknown.
type heldWrite struct {
	caller   *caller
	command  *command
	frame    frame
	answerAt time.Time // zero once that was said
}

func (n *node) hold(c *caller, cmd *command, f *frame) {
	if len(n.held) >= maxHeld {
		c.notHandled(f.id, esproto.NotHandled_TooBusy, nil)
		return
	}
	w := &heldWrite{caller: c, command: cmd, frame: *f, answerAt: n.core.now().Add(writeTimeout)}
	w.frame.payload = slices.Clone(f.payload)
	n.held = append(n.held, w)
	n.cluster.schedule()
}

// writeHeld serves the writes that a leader held until it found a majority. It does not answer a client twice.
func (n *node) writeHeld() {
	held := n.held
	n.held, n.lost = nil, false
	for _, w := range held {
		c := w.caller
		if w.answerAt.IsZero() || w.frame.silent {
			c = c.unanswered()
		}
		if err := w.command.serve(c, &w.frame); err != nil {
			c.refuse(&w.frame, err)
		}
	}
}

// answerLate answers the writes that have waited for too long. They may still happen.
func (n *node) answerLate(now time.Time) {
	if n.paused {
		return
	}
	for _, w := range n.held {
		if !w.answerAt.IsZero() && !now.Before(w.answerAt) {
			w.answerAt = time.Time{}
			if !w.frame.silent {
				w.command.late(w.caller, &w.frame)
			}
		}
	}
}

// Replies to a write that could not be done in time. For changes of groups the server has no such reply.
const (
	commitTimeout     = esproto.OperationResult_CommitTimeout
	textCommitTimeout = "Commit phase timeout."
)

func (c *caller) lateWrite(f *frame) {
	reply := c.core.persona.writeReply(eventlog.NotWritten(commitTimeout, -1))
	c.send(esproto.CmdWriteEventsCompleted, f.id, func(b []byte) []byte {
		return reply.Append(b, c.core.persona.Style)
	})
}

func (c *caller) lateDelete(f *frame) {
	c.reply(esproto.CmdDeleteStreamCompleted, f.id, c.core.persona.deleteReply(eventlog.NotWritten(commitTimeout, -1)))
}

func (c *caller) lateTransactionStart(f *frame) {
	c.reply(esproto.CmdTransactionStartCompleted, f.id, &esproto.TransactionStartCompleted{
		TransactionId: proto.Int64(-1), Result: commitTimeout.Enum(), Message: proto.String(textCommitTimeout),
	})
}

func (c *caller) lateTransactionWrite(f *frame) {
	c.reply(esproto.CmdTransactionWriteCompleted, f.id, &esproto.TransactionWriteCompleted{
		TransactionId: proto.Int64(-1), Result: commitTimeout.Enum(), Message: proto.String(textCommitTimeout),
	})
}

func (c *caller) lateTransactionCommit(f *frame) {
	reply := c.core.persona.commitReply(-1, eventlog.NotWritten(commitTimeout, -1))
	c.reply(esproto.CmdTransactionCommitCompleted, f.id, reply)
}
