package estest

import "fmt"

// Persona is a server version that a server of this package can behave as.
type Persona string

// The personas.
const (
	Persona5011 Persona = "5.0.11" // the default
	Persona414  Persona = "4.1.4"
	Persona2310 Persona = "23.10" // the last line with the TCP protocol; anonymous clients are denied
)

// persona is a version, and the facts by which it differs from others.
type persona struct {
	version Persona
	full    string // as the server itself tells its version
	facts
}

func personaOf(p Persona) (*persona, error) {
	v, ok := versions[p]
	if !ok {
		return nil, fmt.Errorf("estest: unknown persona %q, there are %q, %q and %q",
			p, Persona5011, Persona414, Persona2310)
	}
	return &persona{version: p, full: v.full, facts: factsOf(v.era)}, nil
}
