package estest

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// command is what the server does with a command that clients send.
type command struct {
	serve   func(*conn, *frame) error // does what a request asks for; an error is answered by BadRequest
	stage   stage
	has     func(*facts) bool // whether a version has the command; nil if every version has it
	unready whileUnready

	node   servingNode
	leader protowire.Number    // the field in which a request demands the leader; 0 without one
	writes bool                // waits until the leader has a majority
	late   func(*conn, *frame) // answers a write that has waited for too long; nil for no answer

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

// servingNode is the node of a cluster that serves a command.
type servingNode int

const (
	anyNode        servingNode = iota
	anyOrDemanded              // any node, but only the leader if the request demands that
	leaderForward              // the leader; others forward to it, but refuse if the request demands the leader
	leaderOnly                 // the leader; others refuse and say where it is
	leaderSilently             // the leader; others do nothing
)

// commands has every command that a client may send. A test holds that none is missing.
var commands = [256]*command{
	esproto.CmdHeartbeatRequest:  {stage: lifeSign, serve: (*conn).heartbeat},
	esproto.CmdHeartbeatResponse: {stage: lifeSign, serve: nothing},
	esproto.CmdBadRequest:        {stage: lifeSign, serve: nothing},
	esproto.CmdIdentifyClient:    {stage: greeting, serve: (*conn).identify},
	esproto.CmdAuthenticate:      {stage: greeting, serve: (*conn).authenticate},

	esproto.CmdPing:             {serve: (*conn).ping, unready: answered, noOperation: true, needsNoID: true},
	esproto.CmdScavengeDatabase: {serve: (*conn).scavenge, unready: lost},

	esproto.CmdWriteEvents: {
		serve: (*conn).writeEvents, node: leaderForward, leader: 4, writes: true, looksUpRights: true,
		late: (*conn).lateWrite,
	},
	esproto.CmdDeleteStream: {
		serve: (*conn).deleteStream, node: leaderForward, leader: 3, writes: true, looksUpRights: true,
		late: (*conn).lateDelete,
	},
	esproto.CmdTransactionStart: {
		serve: (*conn).transactionStart, node: leaderForward, leader: 3, writes: true, looksUpRights: true,
		late: (*conn).lateTransactionStart,
	},
	esproto.CmdTransactionWrite: {
		serve: (*conn).transactionWrite, node: leaderForward, leader: 3, writes: true, looksUpRights: true,
		late: (*conn).lateTransactionWrite,
	},
	esproto.CmdTransactionCommit: {
		serve: (*conn).transactionCommit, node: leaderForward, leader: 2, writes: true, looksUpRights: true,
		late: (*conn).lateTransactionCommit,
	},

	esproto.CmdReadEvent:                     read((*conn).readEvent, 4),
	esproto.CmdReadStreamEventsForward:       read((*conn).readStreamForward, 5),
	esproto.CmdReadStreamEventsBackward:      read((*conn).readStreamBackward, 5),
	esproto.CmdReadAllEventsForward:          read((*conn).readAllForward, 5),
	esproto.CmdReadAllEventsBackward:         read((*conn).readAllBackward, 5),
	esproto.CmdFilteredReadAllEventsForward:  filtered(read((*conn).readFilteredForward, 6)),
	esproto.CmdFilteredReadAllEventsBackward: filtered(read((*conn).readFilteredBackward, 6)),

	esproto.CmdSubscribeToStream:         {serve: (*conn).subscribe, looksUpRights: true},
	esproto.CmdFilteredSubscribeToStream: filtered(&command{serve: (*conn).subscribeFiltered, looksUpRights: true}),
	esproto.CmdUnsubscribeFromStream:     {serve: (*conn).unsubscribe, unready: lost, noOperation: true},

	esproto.CmdConnectToPersistentSubscription: {
		serve: (*conn).connectPersistent, node: leaderOnly, looksUpRights: true,
	},
	esproto.CmdCreatePersistentSubscription: {serve: (*conn).createPersistent, node: leaderOnly, writes: true},
	esproto.CmdUpdatePersistentSubscription: {serve: (*conn).updatePersistent, node: leaderOnly, writes: true},
	esproto.CmdDeletePersistentSubscription: {serve: (*conn).deletePersistent, node: leaderOnly, writes: true},
	esproto.CmdPersistentSubscriptionAckEvents: {
		serve: (*conn).ackPersistent, node: leaderSilently, unready: lost,
	},
	esproto.CmdPersistentSubscriptionNakEvents: { // parks events, which is a write
		serve: (*conn).nakPersistent, node: leaderSilently, unready: lost, writes: true,
	},

	// The server reads these, as its nodes send them to each other, and does nothing with them.
	esproto.CmdWriteEventsCompleted:       {serve: ignore[esproto.WriteEventsCompleted]},
	esproto.CmdTransactionStartCompleted:  {serve: ignore[esproto.TransactionStartCompleted]},
	esproto.CmdTransactionWriteCompleted:  {serve: ignore[esproto.TransactionWriteCompleted]},
	esproto.CmdTransactionCommitCompleted: {serve: ignore[esproto.TransactionCommitCompleted]},
	esproto.CmdDeleteStreamCompleted:      {serve: ignore[esproto.DeleteStreamCompleted]},
	esproto.CmdNotHandled:                 {serve: ignore[esproto.NotHandled]},
}

func read(serve func(*conn, *frame) error, leader protowire.Number) *command {
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

// ignore accepts a message if it is one.
func ignore[M any, P interface {
	*M
	proto.Message
}](_ *conn, f *frame) error {
	return proto.Unmarshal(f.payload, P(new(M)))
}
