package estest

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// command describes how the server handles a command of clients.
type command struct {
	stage   stage
	serve   func(*caller, *frame) error // serves an operation; BadRequest answers an error
	attend  func(*conn, *frame) error   // serves a greeting or a sign of life
	has     func(*facts) bool           // whether a version has the command; nil if every version has it
	unready whileUnready

	node   servingNode
	leader protowire.Number      // the field in which a request demands the leader; 0 without one
	writes bool                  // waits until the leader has a majority
	late   func(*caller, *frame) // answers a write that has waited for too long

	looksUpRights bool // waits for WithAsyncRights
	noOperation   bool // AnyOperation does not mean it
	needsNoID     bool // may have an empty correlation id
}

// stage is when a command is served.
type stage int

const (
	operation stage = iota // if the server is ready, with core.mu locked, for a known user or without credentials
	greeting               // at any time, with core.mu locked
	lifeSign               // at any time, without core.mu; Intercept does not see it
)

// whileUnready is the reaction to an operation while the server starts or stops.
type whileUnready int

const (
	refused  whileUnready = iota // answers NotHandled with NotReady
	lost                         // does nothing, without a reply
	answered                     // serves it
)

// servingNode is the node of a cluster that serves an operation.
type servingNode int

const (
	anyNode        servingNode = iota + 1
	anyOrDemanded              // any node, but only the leader if the request demands that
	leaderForward              // the leader; others forward to it, but refuse if the request demands the leader
	leaderOnly                 // the leader; others refuse with its address
	leaderSilently             // the leader; others do nothing
)

// commands has every command that a client may send. A test refuses one that is missing or incomplete.
var commands = [256]*command{
	esproto.CmdHeartbeatRequest:  {stage: lifeSign, attend: (*conn).heartbeat},
	esproto.CmdHeartbeatResponse: {stage: lifeSign, attend: nothing},
	esproto.CmdBadRequest:        {stage: lifeSign, attend: nothing},
	esproto.CmdIdentifyClient:    {stage: greeting, attend: (*conn).identify},
	esproto.CmdAuthenticate:      {stage: greeting, attend: (*conn).authenticate},

	esproto.CmdPing: {
		serve: (*caller).ping, node: anyNode, unready: answered, noOperation: true, needsNoID: true,
	},
	esproto.CmdScavengeDatabase: {serve: (*caller).scavenge, node: anyNode, unready: lost},

	esproto.CmdWriteEvents: {
		serve: (*caller).writeEvents, node: leaderForward, leader: 4, writes: true, looksUpRights: true,
		late: (*caller).lateWrite,
	},
	esproto.CmdDeleteStream: {
		serve: (*caller).deleteStream, node: leaderForward, leader: 3, writes: true, looksUpRights: true,
		late: (*caller).lateDelete,
	},
	esproto.CmdTransactionStart: {
		serve: (*caller).transactionStart, node: leaderForward, leader: 3, writes: true, looksUpRights: true,
		late: (*caller).lateTransactionStart,
	},
	esproto.CmdTransactionWrite: {
		serve: (*caller).transactionWrite, node: leaderForward, leader: 3, writes: true, looksUpRights: true,
		late: (*caller).lateTransactionWrite,
	},
	esproto.CmdTransactionCommit: {
		serve: (*caller).transactionCommit, node: leaderForward, leader: 2, writes: true, looksUpRights: true,
		late: (*caller).lateTransactionCommit,
	},

	esproto.CmdReadEvent:                     read((*caller).readEvent, 4),
	esproto.CmdReadStreamEventsForward:       read((*caller).readStreamForward, 5),
	esproto.CmdReadStreamEventsBackward:      read((*caller).readStreamBackward, 5),
	esproto.CmdReadAllEventsForward:          read((*caller).readAllForward, 5),
	esproto.CmdReadAllEventsBackward:         read((*caller).readAllBackward, 5),
	esproto.CmdFilteredReadAllEventsForward:  filtered(read((*caller).readFilteredForward, 6)),
	esproto.CmdFilteredReadAllEventsBackward: filtered(read((*caller).readFilteredBackward, 6)),

	esproto.CmdSubscribeToStream: {serve: (*caller).subscribe, node: anyNode, looksUpRights: true},
	esproto.CmdFilteredSubscribeToStream: filtered(&command{
		serve: (*caller).subscribeFiltered, node: anyNode, looksUpRights: true,
	}),
	esproto.CmdUnsubscribeFromStream: {serve: (*caller).unsubscribe, node: anyNode, unready: lost, noOperation: true},

	esproto.CmdConnectToPersistentSubscription: {
		serve: (*caller).connectPersistent, node: leaderOnly, looksUpRights: true,
	},
	esproto.CmdCreatePersistentSubscription: {
		serve: (*caller).createPersistent, node: leaderOnly, writes: true, late: noReply,
	},
	esproto.CmdUpdatePersistentSubscription: {
		serve: (*caller).updatePersistent, node: leaderOnly, writes: true, late: noReply,
	},
	esproto.CmdDeletePersistentSubscription: {
		serve: (*caller).deletePersistent, node: leaderOnly, writes: true, late: noReply,
	},
	esproto.CmdPersistentSubscriptionAckEvents: {
		serve: (*caller).ackPersistent, node: leaderSilently, unready: lost,
	},
	esproto.CmdPersistentSubscriptionNakEvents: { // parks events, which is a write
		serve: (*caller).nakPersistent, node: leaderSilently, unready: lost, writes: true, late: noReply,
	},

	// Nodes send these to each other. The server decodes them, and does nothing else.
	esproto.CmdWriteEventsCompleted:       ignored[esproto.WriteEventsCompleted](),
	esproto.CmdTransactionStartCompleted:  ignored[esproto.TransactionStartCompleted](),
	esproto.CmdTransactionWriteCompleted:  ignored[esproto.TransactionWriteCompleted](),
	esproto.CmdTransactionCommitCompleted: ignored[esproto.TransactionCommitCompleted](),
	esproto.CmdDeleteStreamCompleted:      ignored[esproto.DeleteStreamCompleted](),
	esproto.CmdNotHandled:                 ignored[esproto.NotHandled](),
}

func read(serve func(*caller, *frame) error, leader protowire.Number) *command {
	return &command{serve: serve, node: anyOrDemanded, leader: leader, looksUpRights: true}
}

func filtered(c *command) *command {
	c.has = func(f *facts) bool { return f.hasFilters }
	return c
}

// command returns the entry of a command, or nil if this version does not know the command.
func (p *persona) command(cmd esproto.Command) *command {
	c := commands[cmd]
	if c == nil || c.has != nil && !c.has(&p.facts) {
		return nil
	}
	return c
}

// nothing serves a command that no server looks at.
func nothing(*conn, *frame) error { return nil }

// noReply is the late answer to changes of groups and to naks: the server has none.
func noReply(*caller, *frame) {}

// ignored returns the entry of a command that the server only decodes.
func ignored[M any, P interface {
	*M
	proto.Message
}]() *command {
	return &command{node: anyNode, serve: func(_ *caller, f *frame) error {
		return proto.Unmarshal(f.payload, P(new(M)))
	}}
}
