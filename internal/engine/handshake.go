package engine

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// authenticate makes the credentials of its frame the default ones of the connection.
type authenticate struct{}

func (authenticate) Command() esproto.Command       { return esproto.CmdAuthenticate }
func (authenticate) AppendPayload(b []byte) []byte  { return b }
func (authenticate) Keeps(cmd esproto.Command) bool { return false }

func (authenticate) Decode(cmd esproto.Command, _ []byte) error {
	if cmd != esproto.CmdAuthenticated {
		return &UnexpectedReplyError{Request: esproto.CmdAuthenticate, Reply: cmd}
	}
	return nil
}

// identify tells the server that event numbers have 64 bits, and the name of the connection.
type identify struct{ name string }

func (identify) Command() esproto.Command       { return esproto.CmdIdentifyClient }
func (identify) Keeps(cmd esproto.Command) bool { return false }

func (i identify) AppendPayload(b []byte) []byte {
	m := &esproto.IdentifyClient{Version: proto.Int32(esproto.IdentifyVersion), ConnectionName: proto.String(i.name)}
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, m) // fails for no message without required fields
	return b
}

func (identify) Decode(cmd esproto.Command, _ []byte) error {
	if cmd != esproto.CmdClientIdentified {
		return &UnexpectedReplyError{Request: esproto.CmdIdentifyClient, Reply: cmd}
	}
	return nil
}

// handshake brings a new connection to the point where it may be used. The order matters: servers from 20.x refuse
// operations until the credentials are checked.
func handshake(ctx context.Context, c *Conn, creds *esproto.Credentials, name string) error {
	if creds != nil {
		if _, err := c.Do(ctx, authenticate{}, creds); err != nil {
			return err
		}
	}
	_, err := c.Do(ctx, identify{name}, nil)
	return err
}
