package esproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Sizes of a frame's parts, in bytes.
const (
	LengthSize = 4 // the length prefix, little-endian; it does not count itself
	HeaderSize = 18
	// MaxFrameSize is the largest package, header included, that a server takes or sends.
	MaxFrameSize = 64 << 20
)

// MaxCredentialLength is the longest login or password, in bytes, that every server version reads correctly.
const MaxCredentialLength = 127

// IdentifyVersion is the only useful IdentifyClient version. With 0, servers narrow event numbers to 32 bits. From 2
// on, they cannot reply.
const IdentifyVersion = 1

// Flags is the second byte of a package. Servers never set any.
type Flags byte

// The flags of a package.
const (
	FlagNone          Flags = 0x00
	FlagAuthenticated Flags = 0x01 // credentials follow the header
	FlagTrustedWrite  Flags = 0x02 // between nodes only; refused on the client port
)

// CorrelationID connects a reply or a pushed event with its request. It must not be zero in operations, and must be
// unique across connections: it is the server's key of a subscription.
type CorrelationID [16]byte

// IsZero reports whether every byte is zero.
func (c CorrelationID) IsZero() bool { return c == CorrelationID{} }

// String prints the id in hex, in wire order.
func (c CorrelationID) String() string { return fmt.Sprintf("%x", c[:]) }

// Credentials are a login and a password, sent in clear in any frame that carries them.
type Credentials struct {
	Login    string
	Password string
}

// String hides the password.
func (c Credentials) String() string { return c.Login + ":***" }

// GoString hides the password from %#v.
func (c Credentials) GoString() string { return "esproto.Credentials{" + c.String() + "}" }

// Format prints the text of String for every verb: %d and others would print the fields.
func (c Credentials) Format(s fmt.State, verb rune) {
	text := c.String()
	if verb == 'v' && s.Flag('#') {
		text = c.GoString()
	}
	_, _ = io.WriteString(s, text)
}

// MarshalText hides the password from JSON and from loggers.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ErrCredentials reports credentials that some server version would misread.
var ErrCredentials = errors.New("esproto: credentials cannot be sent")

// Validate reports credentials that a frame cannot hold or that some server version would misread: an empty login or
// password, more than [MaxCredentialLength] bytes, a login whose first byte is not ASCII, text that is not UTF-8. The
// error wraps [ErrCredentials] and never contains the password.
func (c Credentials) Validate() error {
	switch {
	case c.Login == "":
		return fmt.Errorf("%w: the login is empty", ErrCredentials)
	case c.Password == "":
		return fmt.Errorf("%w: the password of %q is empty", ErrCredentials, c.Login)
	case len(c.Login) > MaxCredentialLength:
		return fmt.Errorf("%w: the login has more than %d bytes", ErrCredentials, MaxCredentialLength)
	case len(c.Password) > MaxCredentialLength:
		return fmt.Errorf("%w: the password of %q has more than %d bytes", ErrCredentials, c.Login, MaxCredentialLength)
	case c.Login[0] >= 0x80:
		return fmt.Errorf("%w: the login %q must begin with an ASCII character", ErrCredentials, c.Login)
	case !utf8.ValidString(c.Login):
		return fmt.Errorf("%w: the login %q is not UTF-8", ErrCredentials, c.Login)
	case !utf8.ValidString(c.Password):
		return fmt.Errorf("%w: the password of %q is not UTF-8", ErrCredentials, c.Login)
	}
	return nil
}

// Header is the beginning of every package.
type Header struct {
	Command       Command
	Flags         Flags
	CorrelationID CorrelationID
}

// AppendHeader begins a frame: an open length prefix, the header and, if creds is not nil, the credentials, which must
// be valid. Append the payload next, then call [EndFrame] with the length that b had before.
func AppendHeader(b []byte, cmd Command, id CorrelationID, creds *Credentials) []byte {
	flags := FlagNone
	if creds != nil {
		flags = FlagAuthenticated
	}
	b = append(b, 0, 0, 0, 0, byte(cmd), byte(flags))
	b = append(b, id[:]...)
	if creds != nil {
		b = append(b, byte(len(creds.Login)))
		b = append(b, creds.Login...)
		b = append(b, byte(len(creds.Password)))
		b = append(b, creds.Password...)
	}
	return b
}

// EndFrame closes the frame that begins at b[start]: it fills in the length.
func EndFrame(b []byte, start int) {
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-LengthSize))
}

// AppendFrame appends a whole frame without credentials.
func AppendFrame(b []byte, cmd Command, id CorrelationID, payload []byte) []byte {
	start := len(b)
	b = AppendHeader(b, cmd, id, nil)
	b = append(b, payload...)
	EndFrame(b, start)
	return b
}

// SplitCredentials splits b, the bytes behind the header of a package with [FlagAuthenticated], into credentials and
// payload. The strings are copies, the payload aliases b. Credentials that do not fit b are [ErrMalformed].
//
// It splits everything that [AppendHeader] wrote. It has not two special cases of servers: up to 5.0 they refuse an
// empty password without a payload behind it. From 20.6 on they read the first two bytes as a little-endian int16 and,
// if it is negative, the next bytes as a bearer token of that length, negated. [Credentials.Validate] refuses
// credentials for which these cases matter.
func SplitCredentials(b []byte) (c Credentials, payload []byte, err error) {
	login, b, ok := cutLengthPrefixed(b)
	if !ok {
		return c, nil, fmt.Errorf("%w: the login does not fit the frame", ErrMalformed)
	}
	password, b, ok := cutLengthPrefixed(b)
	if !ok {
		return c, nil, fmt.Errorf("%w: the password does not fit the frame", ErrMalformed)
	}
	return Credentials{Login: string(login), Password: string(password)}, b, nil
}

func cutLengthPrefixed(b []byte) (part, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}
