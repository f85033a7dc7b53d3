package esclient

import (
	"cmp"
	"crypto/tls"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// ParseConnectionString reads a connection string in either form:
//
//	tcp://user:password@host:1113?heartbeatTimeout=500&tls=true
//	ConnectTo=tcp://user:password@host:1113; HeartBeatTimeout=500; UseSslConnection=true
//
// The scheme is tcp, tls for an encrypted connection, or discover for the DNS name and gossip port of a cluster. Names
// of settings are those of the reference client; case and spaces in them do not matter. Times are milliseconds, or have
// a unit, as in 2s.
//
//	ConnectTo                       where to connect to, in the second form
//	ClusterDNS, GossipPort          the name of a cluster and the port of its gossip, as in discover://name:port
//	GossipSeeds                     host:port,host:port of a cluster's HTTP endpoints, or URLs
//	NodePreference                  leader, follower, readonlyreplica or random, in a cluster
//	GossipTimeout                   for each node asked
//	GossipTLS                       whether gossip is fetched over HTTPS; as the seeds say, or else as TLS
//	DefaultUserCredentials          user:password
//	ConnectionName, HeartbeatInterval, HeartbeatTimeout, OperationTimeout, ConnectTimeout, MaxRetries, MaxFrameSize,
//	MaxPendingBytes, CatchUpPageSize, SubscriptionBufferSize, SubscriptionBufferBytes, PersistentInFlight
//	ReconnectionDelay               Config.ReconnectDelay
//	MaxReconnectionDelay            Config.MaxReconnectDelay
//	AuthRetryTimeout                Config.AuthRetryTimeout
//	NodeCheckInterval               Config.NodeCheckInterval; -1 is never
//	MaxReconnections                Config.MaxReconnects; -1 and 0 are for ever
//	RequireLeader, RequireMaster    false is Config.AllowFollower
//	TLS, UseSslConnection           true for an encrypted connection
//	TLSVerify, ValidateServer       false accepts any certificate
//	TLSServerName, TargetHost       the name that the certificate must be for, if not the host's
//	TLSCAFile                       certificates, PEM, of the authorities to trust instead of the system's
//	HTTPEndpoint                    host:port, or https://host:port, of the HTTP interface, for package esadmin
//
// Gossip is requested from the host after discover://, from ClusterDNS and from GossipSeeds. With any of them, a host
// after tcp:// or tls:// is ignored, since it may be no node of the cluster.
//
// Settings of the reference client that have no use here are checked and ignored: VerboseLogging, MaxQueueSize,
// MaxConcurrentItems, MaxDiscoverAttempts, FailOnNoServerResponse, OperationTimeoutCheckPeriod, QueueTimeout,
// CompatibilityMode. Any other setting is an error.
//
// The error is a *ConfigError that names the setting. It never shows a password.
func ParseConnectionString(s string) (Config, error) {
	p := connStringParser{seen: make(map[string]bool)}
	if s = strings.TrimSpace(s); s == "" {
		return Config{}, &ConfigError{
			Setting: "connection string", Reason: "is empty; one such as tcp://user:password@localhost:1113 is needed",
		}
	}
	var err error
	if isURI(s) {
		err = p.parseURI(s)
	} else {
		err = p.parsePairs(s)
	}
	if err != nil {
		return Config{}, err
	}
	if err = p.finish(); err != nil {
		if p.secret {
			err = discreet(err)
		}
		return Config{}, err
	}
	return p.cfg, nil
}

// isURI distinguishes the two forms: in the second form, = comes before any ://.
func isURI(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && !strings.ContainsAny(scheme, "=;")
}

type connStringParser struct {
	cfg      Config
	seen     map[string]bool // settings, by their keys
	secret   bool            // the current text may be a part of a password
	scheme   string
	endpoint discovery.Endpoint // of the node, or of the cluster's gossip

	seeds         []discovery.Endpoint
	seedsByURL    bool // the scheme of the seeds says whether they use TLS ...
	seedsByTLS    bool // ... and this is the result
	prefer        discovery.Preference
	gossipTimeout time.Duration
	gossipTLS     *bool
	clusterDNS    string
	gossipPort    int
	gossipSet     string // the last setting that needs gossip

	https     bool // for the HTTP interface, independent of TLS
	useTLS    bool
	tlsConfig tls.Config
	tlsSet    string // the last setting that needs TLS
	caSet     string // the setting that needs TLS or HTTPS
}

func (p *connStringParser) parseURI(s string) error {
	query, err := p.connectTo("connection string", s)
	if err != nil {
		return err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return &ConfigError{Setting: "connection string", Reason: "the text after ? is not name=value&name=value"}
	}
	p.secret = queryHoldsSecrets(values)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if settingKey(name) == "connectto" {
			return &ConfigError{Setting: name, Reason: "is for the form name=value; name=value; use the URI here"}
		}
		for _, value := range values[name] {
			if err := p.setOnce(name, value); err != nil {
				if p.secret {
					err = discreet(err)
				}
				return err
			}
		}
	}
	return nil
}

func (p *connStringParser) parsePairs(s string) error {
	for rest := s; rest != ""; {
		pair, behind, _ := strings.Cut(rest, ";")
		here := rest
		if rest = behind; strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return &ConfigError{
				Setting: "connection string",
				Reason:  "is neither a URI such as tcp://localhost:1113 nor a list of name=value; name=value",
			}
		}
		if err := p.guarded(strings.TrimSpace(name), strings.TrimSpace(value), here); err != nil {
			return err
		}
	}
	p.secret = p.credentialsSeen() || strings.ContainsRune(s, '@')
	return nil
}

func (p *connStringParser) setOnce(name, value string) error {
	key := settingKey(name)
	if key == "" {
		return &ConfigError{Setting: "connection string", Reason: "has a value without the name of its setting"}
	}
	if p.seen[key] {
		return &ConfigError{Setting: name, Reason: "is given more than once"}
	}
	p.seen[key] = true
	return p.set(name, value)
}

// connectTo reads a URI. Its errors do not quote the URI, since it may have a password.
func (p *connStringParser) connectTo(setting, s string) (query string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", &ConfigError{Setting: setting, Reason: "is not a URI such as tcp://user:password@host:1113; " +
			"the port must be a number, and special characters in a password be escaped, as in %40 for @"}
	}
	if strings.ContainsRune(u.Path+u.RawQuery+u.Fragment, '@') {
		// A path or a setting may be a part of the password, so the error quotes nothing.
		return "", &ConfigError{Setting: setting, Reason: "has an @ after the host: " +
			"escape it as %40, and in a user or password also ? as %3F, / as %2F and # as %23"}
	}
	switch p.scheme = strings.ToLower(u.Scheme); p.scheme {
	case "tcp", "discover":
	case "tls":
		p.useTLS = true
	case "esdb", "esdb+discover", "kurrentdb", "kurrent":
		return "", &ConfigError{
			Setting: setting, Value: u.Scheme + "://",
			Reason: "is the scheme of the gRPC protocol; for TCP use tcp, tls or discover",
		}
	case "http", "https":
		return "", &ConfigError{
			Setting: setting, Value: u.Scheme + "://",
			Reason: "is the scheme of the HTTP interface; use tcp or tls with the port for TCP, 1113 by default, or " +
				"discover with the one for HTTP",
		}
	default:
		return "", &ConfigError{
			Setting: setting, Value: u.Scheme + "://", Reason: "is an unknown scheme; use tcp, tls or discover",
		}
	}
	if u.Hostname() == "" {
		return "", &ConfigError{Setting: setting, Reason: "the host is missing"}
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return "", &ConfigError{Setting: setting, Reason: "there must be no path after the port"}
	}
	if p.endpoint, err = discovery.ParseEndpoint(u.Host); err != nil {
		// An invalid port may be a password without its @host.
		reason := "the host and the port cannot be used"
		if e := (*discovery.EndpointError)(nil); errors.As(err, &e) {
			reason = "the endpoint " + e.Reason
		}
		return "", &ConfigError{Setting: setting, Reason: reason}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		if err := p.credentials(setting, u.User.Username(), password); err != nil {
			return "", err
		}
	}
	return u.RawQuery, nil
}

func (p *connStringParser) credentials(setting, login, password string) error {
	c := Credentials{Login: login, Password: password}
	if problem := c.problem(); problem != "" {
		return &ConfigError{Setting: setting, Reason: problem}
	}
	p.cfg.Credentials = &c
	return nil
}

// finish combines the settings.
func (p *connStringParser) finish() error {
	if p.tlsSet != "" && !p.useTLS {
		return &ConfigError{Setting: p.tlsSet, Reason: "has no effect without TLS: use the scheme tls, or tls=true"}
	}
	if p.caSet != "" && !p.useTLS && !p.https && (p.gossipTLS == nil || !*p.gossipTLS) {
		return &ConfigError{Setting: p.caSet, Reason: "has no effect without TLS: use the scheme tls, or tls=true"}
	}
	if p.useTLS {
		p.cfg.TLS = p.tlsConfig.Clone()
		p.cfg.TLS.MinVersion = tls.VersionTLS12
	}
	if p.scheme == "" && len(p.seeds) == 0 && p.clusterDNS == "" {
		return &ConfigError{Setting: "ConnectTo", Reason: "is missing: it names the server"}
	}
	if err := p.target(); err != nil {
		return err
	}
	return p.cfg.Validate()
}

// clusterSeeds returns all settings that name a cluster, or nodes of it, in the documented order.
func (p *connStringParser) clusterSeeds() (seeds []discovery.Endpoint) {
	add := func(e discovery.Endpoint) {
		e = e.WithDefaultPort(cmp.Or(p.gossipPort, discovery.DefaultGossipPort))
		if !slices.Contains(seeds, e) {
			seeds = append(seeds, e)
		}
	}
	if p.scheme == "discover" {
		add(p.endpoint)
	}
	if p.clusterDNS != "" {
		add(discovery.Endpoint{Host: p.clusterDNS})
	}
	for _, e := range p.seeds {
		add(e)
	}
	return seeds
}

// target sets up gossip if there are seeds, or the name of a cluster.
func (p *connStringParser) target() error {
	if p.seedsByURL && p.gossipTLS == nil {
		p.gossipTLS = &p.seedsByTLS
	}
	seeds := p.clusterSeeds()
	if len(seeds) == 0 {
		if p.gossipSet != "" {
			return &ConfigError{
				Setting: p.gossipSet, Reason: "has no effect for a single node: use discover:// or GossipSeeds",
			}
		}
		p.cfg.Address = p.endpoint.WithDefaultPort(DefaultPort).String()
		return nil
	}
	gossip := discovery.GossipConfig{Seeds: seeds, SecureTCP: p.useTLS, Preference: p.prefer, Timeout: p.gossipTimeout}
	if p.gossipTLS == nil && p.useTLS || p.gossipTLS != nil && *p.gossipTLS {
		gossip.TLS = p.tlsConfig.Clone()
		gossip.TLS.MinVersion = tls.VersionTLS12
	}
	if err := gossip.Validate(); err != nil {
		return &ConfigError{Setting: "GossipSeeds", Reason: "cannot be used", Err: err}
	}
	p.cfg.Gossip = &gossip
	return nil
}
