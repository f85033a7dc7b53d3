package esproto

import "fmt"

// Command is the first byte of a package. It selects the message in the rest.
type Command byte

// The commands that clients and servers exchange on the client port. A name that ends in Completed is the reply to the
// command without that ending; the filtered ones need a server from 20.6.
const (
	CmdHeartbeatRequest                          Command = 0x01
	CmdHeartbeatResponse                         Command = 0x02
	CmdPing                                      Command = 0x03
	CmdPong                                      Command = 0x04
	CmdWriteEvents                               Command = 0x82
	CmdWriteEventsCompleted                      Command = 0x83
	CmdTransactionStart                          Command = 0x84
	CmdTransactionStartCompleted                 Command = 0x85
	CmdTransactionWrite                          Command = 0x86
	CmdTransactionWriteCompleted                 Command = 0x87
	CmdTransactionCommit                         Command = 0x88
	CmdTransactionCommitCompleted                Command = 0x89
	CmdDeleteStream                              Command = 0x8A
	CmdDeleteStreamCompleted                     Command = 0x8B
	CmdReadEvent                                 Command = 0xB0
	CmdReadEventCompleted                        Command = 0xB1
	CmdReadStreamEventsForward                   Command = 0xB2
	CmdReadStreamEventsForwardCompleted          Command = 0xB3
	CmdReadStreamEventsBackward                  Command = 0xB4
	CmdReadStreamEventsBackwardCompleted         Command = 0xB5
	CmdReadAllEventsForward                      Command = 0xB6
	CmdReadAllEventsForwardCompleted             Command = 0xB7
	CmdReadAllEventsBackward                     Command = 0xB8
	CmdReadAllEventsBackwardCompleted            Command = 0xB9
	CmdFilteredReadAllEventsForward              Command = 0xBA
	CmdFilteredReadAllEventsForwardCompleted     Command = 0xBB
	CmdFilteredReadAllEventsBackward             Command = 0xBC
	CmdFilteredReadAllEventsBackwardCompleted    Command = 0xBE
	CmdSubscribeToStream                         Command = 0xC0
	CmdSubscriptionConfirmation                  Command = 0xC1
	CmdStreamEventAppeared                       Command = 0xC2
	CmdUnsubscribeFromStream                     Command = 0xC3
	CmdSubscriptionDropped                       Command = 0xC4
	CmdConnectToPersistentSubscription           Command = 0xC5
	CmdPersistentSubscriptionConfirmation        Command = 0xC6
	CmdPersistentSubscriptionStreamEventAppeared Command = 0xC7
	CmdCreatePersistentSubscription              Command = 0xC8
	CmdCreatePersistentSubscriptionCompleted     Command = 0xC9
	CmdDeletePersistentSubscription              Command = 0xCA
	CmdDeletePersistentSubscriptionCompleted     Command = 0xCB
	CmdPersistentSubscriptionAckEvents           Command = 0xCC
	CmdPersistentSubscriptionNakEvents           Command = 0xCD
	CmdUpdatePersistentSubscription              Command = 0xCE
	CmdUpdatePersistentSubscriptionCompleted     Command = 0xCF
	CmdScavengeDatabase                          Command = 0xD0
	CmdScavengeDatabaseResponse                  Command = 0xD1
	CmdFilteredSubscribeToStream                 Command = 0xD2
	CmdCheckpointReached                         Command = 0xD3
	CmdBadRequest                                Command = 0xF0
	CmdNotHandled                                Command = 0xF1
	CmdAuthenticate                              Command = 0xF2
	CmdAuthenticated                             Command = 0xF3
	CmdNotAuthenticated                          Command = 0xF4
	CmdIdentifyClient                            Command = 0xF5
	CmdClientIdentified                          Command = 0xF6
)

var commandNames = [256]string{
	CmdHeartbeatRequest:                          "HeartbeatRequest",
	CmdHeartbeatResponse:                         "HeartbeatResponse",
	CmdPing:                                      "Ping",
	CmdPong:                                      "Pong",
	CmdWriteEvents:                               "WriteEvents",
	CmdWriteEventsCompleted:                      "WriteEventsCompleted",
	CmdTransactionStart:                          "TransactionStart",
	CmdTransactionStartCompleted:                 "TransactionStartCompleted",
	CmdTransactionWrite:                          "TransactionWrite",
	CmdTransactionWriteCompleted:                 "TransactionWriteCompleted",
	CmdTransactionCommit:                         "TransactionCommit",
	CmdTransactionCommitCompleted:                "TransactionCommitCompleted",
	CmdDeleteStream:                              "DeleteStream",
	CmdDeleteStreamCompleted:                     "DeleteStreamCompleted",
	CmdReadEvent:                                 "ReadEvent",
	CmdReadEventCompleted:                        "ReadEventCompleted",
	CmdReadStreamEventsForward:                   "ReadStreamEventsForward",
	CmdReadStreamEventsForwardCompleted:          "ReadStreamEventsForwardCompleted",
	CmdReadStreamEventsBackward:                  "ReadStreamEventsBackward",
	CmdReadStreamEventsBackwardCompleted:         "ReadStreamEventsBackwardCompleted",
	CmdReadAllEventsForward:                      "ReadAllEventsForward",
	CmdReadAllEventsForwardCompleted:             "ReadAllEventsForwardCompleted",
	CmdReadAllEventsBackward:                     "ReadAllEventsBackward",
	CmdReadAllEventsBackwardCompleted:            "ReadAllEventsBackwardCompleted",
	CmdFilteredReadAllEventsForward:              "FilteredReadAllEventsForward",
	CmdFilteredReadAllEventsForwardCompleted:     "FilteredReadAllEventsForwardCompleted",
	CmdFilteredReadAllEventsBackward:             "FilteredReadAllEventsBackward",
	CmdFilteredReadAllEventsBackwardCompleted:    "FilteredReadAllEventsBackwardCompleted",
	CmdSubscribeToStream:                         "SubscribeToStream",
	CmdSubscriptionConfirmation:                  "SubscriptionConfirmation",
	CmdStreamEventAppeared:                       "StreamEventAppeared",
	CmdUnsubscribeFromStream:                     "UnsubscribeFromStream",
	CmdSubscriptionDropped:                       "SubscriptionDropped",
	CmdConnectToPersistentSubscription:           "ConnectToPersistentSubscription",
	CmdPersistentSubscriptionConfirmation:        "PersistentSubscriptionConfirmation",
	CmdPersistentSubscriptionStreamEventAppeared: "PersistentSubscriptionStreamEventAppeared",
	CmdCreatePersistentSubscription:              "CreatePersistentSubscription",
	CmdCreatePersistentSubscriptionCompleted:     "CreatePersistentSubscriptionCompleted",
	CmdDeletePersistentSubscription:              "DeletePersistentSubscription",
	CmdDeletePersistentSubscriptionCompleted:     "DeletePersistentSubscriptionCompleted",
	CmdPersistentSubscriptionAckEvents:           "PersistentSubscriptionAckEvents",
	CmdPersistentSubscriptionNakEvents:           "PersistentSubscriptionNakEvents",
	CmdUpdatePersistentSubscription:              "UpdatePersistentSubscription",
	CmdUpdatePersistentSubscriptionCompleted:     "UpdatePersistentSubscriptionCompleted",
	CmdScavengeDatabase:                          "ScavengeDatabase",
	CmdScavengeDatabaseResponse:                  "ScavengeDatabaseResponse",
	CmdFilteredSubscribeToStream:                 "FilteredSubscribeToStream",
	CmdCheckpointReached:                         "CheckpointReached",
	CmdBadRequest:                                "BadRequest",
	CmdNotHandled:                                "NotHandled",
	CmdAuthenticate:                              "Authenticate",
	CmdAuthenticated:                             "Authenticated",
	CmdNotAuthenticated:                          "NotAuthenticated",
	CmdIdentifyClient:                            "IdentifyClient",
	CmdClientIdentified:                          "ClientIdentified",
}

// String returns the command's name in the protocol, or its byte in hex if it has none.
func (c Command) String() string {
	if n := commandNames[c]; n != "" {
		return n
	}
	return fmt.Sprintf("0x%02X", byte(c))
}

// Known reports whether c is a command of the client protocol.
func (c Command) Known() bool { return commandNames[c] != "" }
