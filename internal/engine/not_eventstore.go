package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// rightPort is the hint for the user if the peer seems to be no EventStore.
const rightPort = "is the port the one for TCP, 1113 by default, and is TLS on or off at both ends?"

// greetingSize is the number of bytes in a greeting, the first bytes of a peer.
const greetingSize = 5

// greetings identify other servers by the first bytes that they send.
var greetings = []struct{ bytes, text string }{
	{"HTTP/", "it answers with HTTP: this looks like the HTTP port, and TCP has another one, 1113 by default"},
	{"SSH-", "it answers with SSH"},
	{"\x15\x03", "it answers with a TLS alert: is Config.TLS, or tls in the connection string, to be set?"},
}

// explainReadError adds the likely cause to an error of the reader. greeting has the first bytes of the peer; nil once
// the peer has sent a frame. A peer whose first bytes are no frame is no EventStore.
func explainReadError(err error, greeting []byte) error {
	eof := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	for _, g := range greetings {
		if bytes.HasPrefix(greeting, []byte(g.bytes)) && (eof || errors.Is(err, esproto.ErrFrame)) {
			return fmt.Errorf("%w: %s: %w", ErrNotEventStore, g.text, err)
		}
	}
	switch {
	case errors.Is(err, esproto.ErrFrame) && greeting != nil:
		return fmt.Errorf("%w (%s): %w", ErrNotEventStore, rightPort, err)
	case eof && greeting != nil:
		return fmt.Errorf("closed by the server before it said anything (%s): %w", rightPort, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("closed by the server: %w", err)
	}
	return err
}
