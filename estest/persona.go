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
	Persona2310 Persona = "23.10" // the last line with the TCP protocol; anonymous clients are denied
)

// era is a release since which servers behave differently in some way.
type era int

const (
	era4  era = iota // 4.1
	era5             // 5.0
	era20            // 20.6 and 20.10
	era21            // 21.10
	era22            // 22.10
	era23            // 23.10
)

// persona is what the versions differ in. What changed with a release is asked of since, where it matters.
type persona struct {
	version Persona
	full    string // as the server itself tells its version
	era     era
	style   esproto.Style
	// denyAnonymous: who does not authenticate has no right on any stream.
	denyAnonymous bool
}

func personaOf(p Persona) (*persona, error) {
	switch p {
	case Persona5011:
		return &persona{version: p, full: "5.0.11.0", era: era5}, nil
	case Persona414:
		return &persona{version: p, full: "4.1.4.0", era: era4}, nil
	case Persona2310:
		return &persona{version: p, full: "23.10.6.0", era: era23, style: esproto.OmitZeros, denyAnonymous: true}, nil
	}
	return nil, fmt.Errorf("estest: unknown persona %q, there are %q, %q and %q",
		p, Persona5011, Persona414, Persona2310)
}

// since reports whether the server is of this release or a later one.
func (p *persona) since(e era) bool { return p.era >= e }

// denied is the text of a refusal for lack of rights.
func (p *persona) denied() string {
	if p.since(era20) {
		return "Access Denied"
	}
	return "Access denied."
}

// refusal is the text of a read that is refused. Servers up to 5.0 tell none.
func (p *persona) refusal() *string {
	if !p.since(era20) {
		return nil
	}
	text := p.denied()
	return &text
}
