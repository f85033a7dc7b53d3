package esclient

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// appendMessage encodes a message without a hot codec of its own.
func appendMessage(b []byte, m proto.Message) []byte {
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, m) // fails only where required fields are missing, and ours has none
	return b
}

// decodeMessage reads the reply to a request without a hot codec of its own. In the protocol the command of such a
// reply follows that of its request by one.
func decodeMessage(r engine.Request, m proto.Message, cmd esproto.Command, payload []byte) error {
	if cmd != r.Command()+1 {
		return unexpected(r, cmd, nil)
	}
	if err := proto.Unmarshal(payload, m); err != nil {
		return unexpected(r, cmd, err)
	}
	return nil
}
