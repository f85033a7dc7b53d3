package eventstore

import (
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// withoutPassword masks the password of a connection string.
func withoutPassword(connectionString string) string {
	if connectionString == "" {
		return ""
	}
	cfg, err := esclient.ParseConnectionString(connectionString)
	if err != nil {
		return "xxxxx" // it may hold a password anywhere
	}
	return cfg.String()
}

// Format implements [fmt.Formatter]. It prints the configuration without the password of its ConnectionString.
func (c PublisherConfig) Format(s fmt.State, verb rune) {
	type publisherConfig PublisherConfig
	c.ConnectionString = withoutPassword(c.ConnectionString)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), publisherConfig(c))
}

// MarshalText implements [encoding.TextMarshaler], so that loggers and JSON show the configuration without the
// password.
func (c PublisherConfig) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%+v", c), nil }

// Format implements [fmt.Formatter]. It prints the configuration without the password of its ConnectionString.
func (c SubscriberConfig) Format(s fmt.State, verb rune) {
	type subscriberConfig SubscriberConfig
	c.ConnectionString = withoutPassword(c.ConnectionString)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), subscriberConfig(c))
}

// MarshalText implements [encoding.TextMarshaler], so that loggers and JSON show the configuration without the
// password.
func (c SubscriberConfig) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%+v", c), nil }

// Format implements [fmt.Formatter]. It prints the Publisher's configuration without the password.
func (p *Publisher) Format(s fmt.State, verb rune) { p.cfg.Format(s, verb) }

// Format implements [fmt.Formatter]. It prints the Subscriber's configuration without the password.
func (s *Subscriber) Format(state fmt.State, verb rune) { s.cfg.Format(state, verb) }
