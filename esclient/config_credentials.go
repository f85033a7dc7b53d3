package esclient

import (
	"fmt"
	"io"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Credentials are a login and a password. Printing them hides the password.
type Credentials struct {
	Login    string // 1 to 127 bytes of UTF-8, of which the first is an ASCII character
	Password string // 1 to 127 bytes of UTF-8
}

// Validate reports credentials that do not fit a request, or that some servers would misread, as an [*ArgumentError].
func (c Credentials) Validate() error {
	if problem := c.problem(); problem != "" {
		return &ArgumentError{Argument: "credentials", Reason: problem}
	}
	return nil
}

// problem returns why the credentials cannot be sent; "" if they can.
func (c Credentials) problem() string {
	if err := esproto.Credentials(c).Validate(); err != nil {
		return strings.TrimPrefix(err.Error(), esproto.ErrCredentials.Error()+": ")
	}
	return ""
}

// String returns the login, and hides the password.
func (c Credentials) String() string { return c.Login + ":***" }

// GoString keeps %#v from printing the password.
func (c Credentials) GoString() string { return "esclient.Credentials{" + c.String() + "}" }

// Format prints the result of String or GoString for every verb: %d and others would print the fields.
func (c Credentials) Format(s fmt.State, verb rune) {
	text := c.String()
	if verb == 'v' && s.Flag('#') {
		text = c.GoString()
	}
	_, _ = io.WriteString(s, text)
}

// MarshalText keeps JSON, and so loggers, from printing the password.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
