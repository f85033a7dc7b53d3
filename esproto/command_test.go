package esproto_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// commandBytes are the commands of the client port by their bytes, as the servers define them.
var commandBytes = map[byte]string{
	0x01: "HeartbeatRequest", 0x02: "HeartbeatResponse", 0x03: "Ping", 0x04: "Pong",
	0x82: "WriteEvents", 0x83: "WriteEventsCompleted",
	0x84: "TransactionStart", 0x85: "TransactionStartCompleted",
	0x86: "TransactionWrite", 0x87: "TransactionWriteCompleted",
	0x88: "TransactionCommit", 0x89: "TransactionCommitCompleted",
	0x8A: "DeleteStream", 0x8B: "DeleteStreamCompleted",
	0xB0: "ReadEvent", 0xB1: "ReadEventCompleted",
	0xB2: "ReadStreamEventsForward", 0xB3: "ReadStreamEventsForwardCompleted",
	0xB4: "ReadStreamEventsBackward", 0xB5: "ReadStreamEventsBackwardCompleted",
	0xB6: "ReadAllEventsForward", 0xB7: "ReadAllEventsForwardCompleted",
	0xB8: "ReadAllEventsBackward", 0xB9: "ReadAllEventsBackwardCompleted",
	0xBA: "FilteredReadAllEventsForward", 0xBB: "FilteredReadAllEventsForwardCompleted",
	0xBC: "FilteredReadAllEventsBackward", 0xBE: "FilteredReadAllEventsBackwardCompleted", // 0xBD is unused
	0xC0: "SubscribeToStream", 0xC1: "SubscriptionConfirmation", 0xC2: "StreamEventAppeared",
	0xC3: "UnsubscribeFromStream", 0xC4: "SubscriptionDropped",
	0xC5: "ConnectToPersistentSubscription", 0xC6: "PersistentSubscriptionConfirmation",
	0xC7: "PersistentSubscriptionStreamEventAppeared",
	0xC8: "CreatePersistentSubscription", 0xC9: "CreatePersistentSubscriptionCompleted",
	0xCA: "DeletePersistentSubscription", 0xCB: "DeletePersistentSubscriptionCompleted",
	0xCC: "PersistentSubscriptionAckEvents", 0xCD: "PersistentSubscriptionNakEvents",
	0xCE: "UpdatePersistentSubscription", 0xCF: "UpdatePersistentSubscriptionCompleted",
	0xD0: "ScavengeDatabase", 0xD1: "ScavengeDatabaseResponse",
	0xD2: "FilteredSubscribeToStream", 0xD3: "CheckpointReached",
	0xF0: "BadRequest", 0xF1: "NotHandled",
	0xF2: "Authenticate", 0xF3: "Authenticated", 0xF4: "NotAuthenticated",
	0xF5: "IdentifyClient", 0xF6: "ClientIdentified",
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for i := range 256 {
		cmd := esproto.Command(i)
		name, known := commandBytes[byte(i)]
		if !known {
			name = fmt.Sprintf("0x%02X", i)
		}
		assert.Equal(t, known, cmd.Known(), name)
		assert.Equal(t, name, cmd.String())
	}
}
