package estest

import (
	"errors"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// WithInsecure makes the server run as with --insecure: every client may do everything, over TCP and HTTP, with any
// credentials, right or wrong, or with none. There is no encryption. The server has no users: Authenticate always
// succeeds, and /users does not exist. The page is open to everyone, under any host name. Start refuses the option
// together with [WithTLS], [WithUser], or a persona before 20.6, which has no such mode.
func WithInsecure() Option { return func(c *config) { c.insecure = true } }

// The users of an insecure server. Over TCP a client with credentials is the first, a client without is the second.
// Over HTTP every client is the first.
var (
	insecureUser      = &eventlog.User{Login: "system", Groups: []string{eventlog.Admins}}
	insecureAnonymous = &eventlog.User{Login: "anonymous", Groups: []string{eventlog.Admins}}
)

// checkInsecure reports options that an insecure server cannot have.
func (c *config) checkInsecure(p *persona) error {
	switch {
	case !c.insecure:
		return nil
	case !p.hasInsecureMode:
		return fmt.Errorf("estest: %s has no insecure mode, servers have it from 20.6 on: choose another persona, "+
			"such as %q", p.version, Persona2310)
	case c.tls:
		return errors.New("estest: an insecure server has no TLS: leave out one of both")
	case len(c.users) > 0:
		return errors.New("estest: an insecure server has no users: leave out the users or the insecure mode")
	}
	return nil
}
