package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// rightPort is what to check where something else than an EventStore seems to answer.
const rightPort = "is the port the one for TCP, 1113 by default, and is TLS on or off at both ends?"

// greetingSize is how much of what a peer says first is enough to know strangers by.
const greetingSize = 5

// strangers begin what they say with these bytes.
var strangers = []struct{ greeting, text string }{
	{"HTTP/", "it answers with HTTP: this looks like the HTTP port, and TCP has another one, 1113 by default"},
	{"SSH-", "it answers with SSH"},
	{"\x15\x03", "it answers with a TLS alert: is Config.TLS, or tls in the connection string, to be set?"},
}

// describe says what an error of the reader means. greeting is how the peer began, if it has not sent a frame yet, and
// nil if it has. A peer whose very first bytes are no frame is no EventStore.
func describe(err error, greeting []byte) error {
	eof := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	for _, s := range strangers {
		if bytes.HasPrefix(greeting, []byte(s.greeting)) && (eof || errors.Is(err, esproto.ErrFrame)) {
			return fmt.Errorf("%w: %s: %w", ErrNotEventStore, s.text, err)
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
