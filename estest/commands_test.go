package estest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// fromServers are the commands that only servers send, and that they do not read.
var fromServers = []esproto.Command{
	esproto.CmdPong, esproto.CmdClientIdentified, esproto.CmdAuthenticated, esproto.CmdNotAuthenticated,
	esproto.CmdReadEventCompleted, esproto.CmdReadStreamEventsForwardCompleted,
	esproto.CmdReadStreamEventsBackwardCompleted, esproto.CmdReadAllEventsForwardCompleted,
	esproto.CmdReadAllEventsBackwardCompleted, esproto.CmdFilteredReadAllEventsForwardCompleted,
	esproto.CmdFilteredReadAllEventsBackwardCompleted, esproto.CmdSubscriptionConfirmation,
	esproto.CmdStreamEventAppeared, esproto.CmdSubscriptionDropped, esproto.CmdCheckpointReached,
	esproto.CmdPersistentSubscriptionConfirmation, esproto.CmdPersistentSubscriptionStreamEventAppeared,
	esproto.CmdCreatePersistentSubscriptionCompleted, esproto.CmdUpdatePersistentSubscriptionCompleted,
	esproto.CmdDeletePersistentSubscriptionCompleted, esproto.CmdScavengeDatabaseResponse,
}

func TestEveryCommandOfClientsIsServed(t *testing.T) {
	for i := range 256 {
		cmd := esproto.Command(i)
		want := cmd.Known() && !slices.Contains(fromServers, cmd)
		c := commands[cmd]
		assert.Equal(t, want, c != nil && (c.serve != nil) != (c.attend != nil),
			"%s: is it in commands, with one that serves it, or only sent by servers?", cmd)
	}
}

// leaderFieldOf is the number of the field in which a request demands the leader; 0 if it has none.
func leaderFieldOf(cmd esproto.Command) protowire.Number {
	name := strings.TrimSuffix(strings.TrimSuffix(cmd.String(), "Forward"), "Backward")
	message := esproto.File_esproto_messages_proto.Messages().ByName(protoreflect.Name(name))
	if message == nil {
		return 0
	}
	if field := message.Fields().ByName("require_leader"); field != nil {
		return field.Number()
	}
	return 0
}

func TestCommandsFitTheirMessages(t *testing.T) {
	assert.EqualValues(t, 5, leaderFieldOf(esproto.CmdReadStreamEventsForward))
	for i, c := range commands {
		if c == nil {
			continue
		}
		cmd := esproto.Command(i)
		assert.Equal(t, leaderFieldOf(cmd), c.leader, "%s: the field that demands the leader", cmd)
		assert.Equal(t, c.leader != 0, c.node == anyOrDemanded || c.node == leaderForward,
			"%s: a request can demand the leader where another node would do", cmd)
		assert.Equal(t, c.stage == operation, c.serve != nil, "%s: callers are served operations only", cmd)
		assert.Equal(t, c.stage == operation, c.node != 0, "%s: which node serves it", cmd)
		assert.Equal(t, c.writes, c.late != nil, "%s: what a write is answered that waits for too long", cmd)
		if c.writes {
			assert.Contains(t, []servingNode{leaderForward, leaderOnly, leaderSilently}, c.node, "%s writes", cmd)
		}
		if c.stage != operation {
			rest := *c
			rest.attend, rest.stage = nil, operation
			assert.Zero(t, rest, "%s: says what only operations have", cmd)
		}
	}
}

func TestCommandsByVersion(t *testing.T) {
	for persona, known := range map[Persona]bool{Persona414: false, Persona5011: false, Persona2310: true} {
		p, err := personaOf(persona)
		assert.NoError(t, err)
		assert.NotNil(t, p.command(esproto.CmdReadEvent), persona)
		assert.Nil(t, p.command(esproto.CmdPong), persona)
		for _, cmd := range []esproto.Command{
			esproto.CmdFilteredReadAllEventsForward, esproto.CmdFilteredReadAllEventsBackward,
			esproto.CmdFilteredSubscribeToStream,
		} {
			assert.Equal(t, known, p.command(cmd) != nil, "%s: %s", persona, cmd)
		}
	}
}
