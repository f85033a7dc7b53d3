package esclient

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// String prints the configuration as a connection string, with xxxxx as the password. ParseConnectionString accepts the
// result. Settings with their default values are left out. So are Discoverer, Logger, Hooks and Dial, and all fields of
// TLS and Gossip without a setting there.
func (c Config) String() string {
	u := url.URL{Scheme: "tcp", Host: maskUser(c.Address)}
	if c.Credentials != nil {
		u.User = url.UserPassword(c.Credentials.Login, "xxxxx")
	}
	q := make(url.Values)
	if c.Gossip != nil {
		c.printGossip(&u, q)
	} else if c.TLS != nil {
		u.Scheme = "tls"
	}
	c.printTLS(q)
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"heartbeatInterval", c.HeartbeatInterval}, {"heartbeatTimeout", c.HeartbeatTimeout},
		{"operationTimeout", c.OperationTimeout}, {"connectTimeout", c.ConnectTimeout},
		{"reconnectionDelay", c.ReconnectDelay}, {"maxReconnectionDelay", c.MaxReconnectDelay},
		{"authRetryTimeout", c.AuthRetryTimeout},
	} {
		if d.v != 0 {
			q.Set(d.name, d.v.String())
		}
	}
	for _, n := range []struct {
		name string
		v    int
	}{
		{"maxRetries", c.MaxRetries}, {"maxReconnections", c.MaxReconnects}, {"maxFrameSize", c.MaxFrameSize},
		{"maxPendingBytes", c.MaxPendingBytes}, {"catchUpPageSize", c.CatchUpPageSize},
		{"subscriptionBufferSize", c.SubscriptionBufferSize},
		{"subscriptionBufferBytes", c.SubscriptionBufferBytes}, {"persistentInFlight", c.PersistentInFlight},
	} {
		if n.v != 0 {
			q.Set(n.name, strconv.Itoa(n.v))
		}
	}
	switch {
	case c.NodeCheckInterval < 0:
		q.Set("nodeCheckInterval", "-1")
	case c.NodeCheckInterval > 0:
		q.Set("nodeCheckInterval", c.NodeCheckInterval.String())
	}
	if c.AllowFollower {
		q.Set("requireLeader", "false")
	}
	if c.HTTPEndpoint != "" {
		q.Set("httpEndpoint", maskUser(c.HTTPEndpoint))
	}
	if c.ConnectionName != "" {
		q.Set("connectionName", c.ConnectionName)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func (c *Config) printGossip(u *url.URL, q url.Values) {
	g := c.Gossip
	u.Scheme, u.Host = "discover", ""
	var seeds []string
	for _, e := range g.Seeds {
		seeds = append(seeds, maskUser(e.WithDefaultPort(discovery.DefaultGossipPort).String()))
	}
	if len(seeds) > 0 {
		u.Host = seeds[0]
	}
	if len(seeds) > 1 {
		q.Set("gossipSeeds", strings.Join(seeds[1:], ","))
	}
	if g.Preference != discovery.PreferLeader {
		q.Set("nodePreference", g.Preference.String())
	}
	if g.Timeout != 0 {
		q.Set("gossipTimeout", g.Timeout.String())
	}
	if c.TLS != nil {
		q.Set("tls", "true")
	}
	if (g.TLS != nil) != (c.TLS != nil) {
		q.Set("gossipTLS", strconv.FormatBool(g.TLS != nil))
	}
}

func (c *Config) printTLS(q url.Values) {
	if c.TLSCAFile != "" {
		q.Set("tlsCAFile", c.TLSCAFile)
	}
	if c.TLS == nil {
		return
	}
	if c.TLS.InsecureSkipVerify {
		q.Set("tlsVerify", "false")
	}
	if c.TLS.ServerName != "" {
		q.Set("tlsServerName", c.TLS.ServerName)
	}
}

// GoString keeps %#v from printing the password.
func (c Config) GoString() string { return "esclient.Config{" + c.String() + "}" }

// Format prints the result of String for every verb, so that no verb prints the password.
func (c Config) Format(s fmt.State, verb rune) { formatText(s, verb, c.String(), c.GoString()) }

// formatText prints a text instead of a value, for every verb: %d would print the fields.
func formatText(s fmt.State, verb rune, text, goText string) {
	switch verb {
	case 'q', 'x', 'X':
	case 'v':
		if s.Flag('#') {
			text = goText
		}
		fallthrough
	default:
		verb = 's'
	}
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), text)
}

// MarshalText makes loggers and JSON show the result of String, without the password.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
