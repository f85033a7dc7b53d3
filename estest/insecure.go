package estest

import (
	"errors"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// WithInsecure has the server run as with --insecure: any credentials, right or wrong, and none at all, may do
// everything, over TCP and HTTP, without encryption. It has no users then: Authenticate with any credentials succeeds,
// and there is nothing at /users. The page is open to everybody, too, by whatever name they call the server. Start
// refuses it together with WithTLS, WithUser, or a persona before 20.6, which has no such mode.
func WithInsecure() Option { return func(c *config) { c.insecure = true } }

// Who acts on an insecure server. Over TCP, whoever gives credentials is the first, and whoever gives none the second;
// over HTTP everybody is the first.
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
