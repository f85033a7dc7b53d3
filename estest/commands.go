package estest

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// command is what the server does with a command that clients send.
type command struct {
	stage   stage
	serve   func(*caller, *frame) error // serves an operation; BadRequest answers an error
	attend  func(*conn, *frame) error   // serves what is no operation
	has     func(*facts) bool           // whether a version has the command; nil if every version has it
	unready whileUnready

	node   servingNode
	leader protowire.Number      // the field in which a request demands the leader; 0 without one
	writes bool                  // waits until the leader has a majority
	late   func(*caller, *frame) // answers a write that has waited for too long

	looksUpRights bool // waits for WithAsyncRights
	noOperation   bool // AnyOperation does not stand for it
	needsNoID     bool // may have an empty correlation id
}

// stage is where a command is served.
type stage int

const (
	operation stage = iota // when the server is ready, by core.mu, and for a user who is known or for nobody
	greeting               // at any time, by core.mu
	lifeSign               // at any time, without core.mu; Intercept does not see it
)

// whileUnready is what becomes of an operation while the server starts or stops.
type whileUnready int

const (
	refused  whileUnready = iota // by NotHandled, NotReady
	lost                         // without a reply
	answered                     // as ever
)

// servingNode is the node of a cluster that serves an operation.
type servingNode int

const (
	anyNode        servingNode = iota + 1
	anyOrDemanded              // any node, but only the leader if the request demands that
	leaderForward              // the leader; others forward to it, but refuse if the request demands the leader
	leaderOnly                 // the leader; others refuse and say where it is
	leaderSilently             // the leader; others do nothing
)

// commands has every command that a client may send. A test holds that none is missing.
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

	// The server reads these, as its nodes send them to each other, and does nothing with them.
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

// command returns what a server of this version does with a command; nil if it does not know it.
func (p *persona) command(cmd esproto.Command) *command {
	c := commands[cmd]
	if c == nil || c.has != nil && !c.has(&p.facts) {
		return nil
	}
	return c
}

// nothing is done with what a client says and no server looks at.
func nothing(*conn, *frame) error { return nil }

// noReply is for late changes of groups and late naks: the server has no reply that says so.
func noReply(*caller, *frame) {}

// ignored accepts a message if it is one.
func ignored[M any, P interface {
	*M
	proto.Message
}]() *command {
	return &command{node: anyNode, serve: func(_ *caller, f *frame) error {
		return proto.Unmarshal(f.payload, P(new(M)))
	}}
}
