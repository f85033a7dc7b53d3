package eventstore

import (
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// withoutPassword returns a connection string as it may be printed.
func withoutPassword(connectionString string) string {
	if connectionString == "" {
		return ""
	}
	cfg, err := esclient.ParseConnectionString(connectionString)
	if err != nil {
		return "xxxxx" // who knows what it holds
	}
	return cfg.String()
}

// Format prints the configuration as if it had no methods, but without the password of its ConnectionString.
func (c PublisherConfig) Format(s fmt.State, verb rune) {
	type publisherConfig PublisherConfig
	c.ConnectionString = withoutPassword(c.ConnectionString)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), publisherConfig(c))
}

// MarshalText makes loggers and JSON show the configuration without the password.
func (c PublisherConfig) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%+v", c), nil }

// Format prints the configuration as if it had no methods, but without the password of its ConnectionString.
func (c SubscriberConfig) Format(s fmt.State, verb rune) {
	type subscriberConfig SubscriberConfig
	c.ConnectionString = withoutPassword(c.ConnectionString)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), subscriberConfig(c))
}

// MarshalText makes loggers and JSON show the configuration without the password.
func (c SubscriberConfig) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%+v", c), nil }

// Format prints the Publisher's configuration, without the password.
func (p *Publisher) Format(s fmt.State, verb rune) { p.cfg.Format(s, verb) }

// Format prints the Subscriber's configuration, without the password.
func (s *Subscriber) Format(state fmt.State, verb rune) { s.cfg.Format(state, verb) }
