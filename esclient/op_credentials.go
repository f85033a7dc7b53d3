package esclient

import (
	"context"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Credentials are a login and a password. Printing them hides the password. Both must be 1 to 127 bytes long and the
// login must begin with an ASCII character: some servers misread anything else.
type Credentials = esproto.Credentials

type credentialsKey struct{}

// WithCredentials returns a context whose calls act for the given user instead of the connection's. A subscription made
// with it keeps them for as long as it lives.
func WithCredentials(ctx context.Context, c Credentials) context.Context {
	return context.WithValue(ctx, credentialsKey{}, &c)
}

// CredentialsFromContext returns the credentials that WithCredentials has put into a context; false if there are none.
func CredentialsFromContext(ctx context.Context) (c Credentials, ok bool) {
	if c, _ := ctx.Value(credentialsKey{}).(*Credentials); c != nil {
		return *c, true
	}
	return Credentials{}, false
}

// credentialsFrom returns the credentials of a context, validated, or nil where it has none.
func credentialsFrom(ctx context.Context) (*Credentials, error) {
	c, _ := ctx.Value(credentialsKey{}).(*Credentials)
	if c == nil {
		return nil, nil
	}
	if err := c.Validate(); err != nil {
		return nil, &ArgumentError{Argument: "credentials", Reason: err.Error()}
	}
	return c, nil
}

// Format prints what the subscription is to, and not its fields, among which there are credentials.
func (p *PersistentSubscription) Format(s fmt.State, verb rune) {
	text := fmt.Sprintf("esclient.PersistentSubscription{stream %q, group %q}", p.stream, p.group)
	formatText(s, verb, text, text)
}
