package esclient

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// appendMessage encodes a message that has no optimised codec.
func appendMessage(b []byte, m proto.Message) []byte {
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, m) // fails only if a required field is missing
	return b
}

// decodeMessage decodes the reply to a request that has no optimised codec. The command of such a reply is that of the
// request plus one.
func decodeMessage(r engine.Request, m proto.Message, cmd esproto.Command, payload []byte) error {
	if cmd != r.Command()+1 {
		return unexpected(r, cmd, nil)
	}
	if err := proto.Unmarshal(payload, m); err != nil {
		return unexpected(r, cmd, err)
	}
	return nil
}
