package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// scavenge refuses, or answers that there is nothing to do: the log is in memory and is never cleaned up.
func (c *caller) scavenge(f *frame) error {
	if !f.user.IsOperator() {
		if c.core.persona.scavengeRefusalIsLost {
			return nil
		}
		reply := &esproto.ScavengeDatabaseResponse{Result: esproto.ScavengeDatabaseResponse_Unauthorized.Enum()}
		if c.core.persona.scavengeRepliesTotals {
			reply.ScavengeId = proto.String(c.core.persona.DeniedText)
			reply.TotalTimeMs, reply.TotalSpaceSaved = proto.Int32(0), proto.Int64(0)
		}
		c.reply(esproto.CmdScavengeDatabaseResponse, f.id, reply)
		return nil
	}
	reply := &esproto.ScavengeDatabaseResponse{Result: esproto.ScavengeDatabaseResponse_Started.Enum()}
	if c.core.persona.scavengeRepliesTotals {
		reply.TotalTimeMs, reply.TotalSpaceSaved = proto.Int32(0), proto.Int64(0)
	} else {
		reply.ScavengeId = proto.String(eventlog.NewGUID().String())
	}
	c.reply(esproto.CmdScavengeDatabaseResponse, f.id, reply)
	return nil
}
