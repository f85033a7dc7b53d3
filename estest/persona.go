package estest

import (
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Persona is the server version that an estest server behaves as, where versions differ.
type Persona string

// The personas.
const (
	Persona5011 Persona = "5.0.11" // the default
	Persona414  Persona = "4.1.4"
)

// persona is what the versions differ in.
type persona struct {
	version Persona
	style   esproto.Style
	// groupsNeedSettings: managing groups takes the right to write to $settings, which operators do not have.
	groupsNeedSettings bool
	// ackNeedsCorrelation: an ack frees the client's slot only on the subscription's correlation id.
	ackNeedsCorrelation bool
	// badLinkStaysLink: a link whose data is no number@stream is a link without a target, not an ordinary event.
	badLinkStaysLink bool
	// scavengeReports: the scavenge reply has an error text, a duration and a size.
	scavengeReports bool
}

func personaOf(p Persona) (*persona, error) {
	switch p {
	case Persona5011:
		return &persona{version: p}, nil
	case Persona414:
		return &persona{version: p, groupsNeedSettings: true, ackNeedsCorrelation: true, badLinkStaysLink: true, scavengeReports: true}, nil
	}
	return nil, fmt.Errorf("estest: unknown persona %q, there are %q and %q", p, Persona5011, Persona414)
}
