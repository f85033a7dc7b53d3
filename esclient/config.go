package esclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
)

// Defaults of Config.
const (
	DefaultPort              = 1113
	DefaultHTTPPort          = 2113 // of the server's HTTP interface
	DefaultHeartbeatInterval = 750 * time.Millisecond
	DefaultHeartbeatTimeout  = 1500 * time.Millisecond
	DefaultOperationTimeout  = 7 * time.Second
	DefaultConnectTimeout    = 5 * time.Second
	DefaultReconnectDelay    = 100 * time.Millisecond
	DefaultMaxReconnectDelay = 5 * time.Second
	DefaultAuthRetryTimeout  = time.Minute
	DefaultNodeCheckInterval = 3 * time.Second
	DefaultMaxRetries        = 10
	DefaultMaxPendingBytes   = 4 << 20
	defaultConnectionName    = "watermill-eventstore"
)

// Config says how a Client connects and works. Address, Gossip or Discoverer is all that is needed;
// ParseConnectionString makes a Config from a string, which may then be changed, and String prints it without the
// password.
type Config struct {
	// Address is the host:port of a node; without a port it is DefaultPort. It is not used where Discoverer is set.
	Address string
	// Gossip, if not nil, has the node found by asking the nodes of a cluster; it wins over Address. Its SecureTCP
	// follows TLS, and where it has TLS but no Credentials, those below are sent.
	Gossip *discovery.GossipConfig
	// Discoverer, if not nil, finds the node to connect to; see package discovery. It wins over Gossip and Address. The
	// methods that discovery.Gossip has besides are used if it has them, too: MapEndpoint is applied to the leader that
	// another node names; where there is Members, a leader is only gone to if it is one of them; see NodeCheckInterval
	// for Check.
	Discoverer discovery.Discoverer
	// TLS, if not nil, has the connection encrypted. The server's certificate is verified unless the configuration says
	// otherwise; without a ServerName it must be that of the host.
	TLS *tls.Config
	// TLSCAFile names a PEM file with the certificates of the authorities to trust instead of the system's, where TLS
	// is set without RootCAs; also for Gossip and package esadmin. It is read by New, and again for each connection, so
	// it may be replaced. While it cannot be read, what it held before counts, and the log is told.
	TLSCAFile string
	// HTTPEndpoint is where package esadmin, and Client.GroupSettings, find the server's HTTP interface: host:port, or
	// a URL that begins with http:// or https://. The default follows from Gossip or Address; see there.
	HTTPEndpoint string
	// Credentials are the user that the connection acts for, unless a call has its own; see WithCredentials. Without
	// them the connection is anonymous.
	Credentials *Credentials
	// ConnectionName shows in the server's logs and statistics. The default is watermill-eventstore.
	ConnectionName string

	// HeartbeatInterval is the silence after which the client asks the server for a sign of life, and HeartbeatTimeout
	// the further silence after which it gives the connection up. Any received byte counts, and so do sent bytes that
	// get on. What a proxy may hold of a request of 64 KiB or more has a second for each 32 KiB, up to 30 s, in
	// addition. The defaults are DefaultHeartbeatInterval and DefaultHeartbeatTimeout.
	HeartbeatInterval time.Duration
	HeartbeatTimeout  time.Duration
	// OperationTimeout is how long an attempt waits for the server's reply; DefaultOperationTimeout. It runs from the
	// last byte of the request that got on, with the same addition for what a proxy may hold, and not while the reply,
	// or what comes before it, is on its way. If other bytes come and no heartbeat is answered, an attempt ends after
	// three times as long; the time is not counted then that single large replies take.
	OperationTimeout time.Duration
	// MaxRetries is how often an operation is tried again, where that is safe, before it fails; DefaultMaxRetries. What
	// counts are lost connections, missing replies, the server's own timeouts, and nodes that are not the leader. What
	// does not: to wait for a connection, and to ask again a server that is not ready or too busy, which goes on until
	// the context of the call ends; and to ask for less where a page was too large. A negative value allows none, but
	// for that last one.
	MaxRetries int
	// AllowFollower lets the nodes of a cluster that are not its leader answer reads, which may then lag behind, and
	// forward writes.
	AllowFollower bool

	// ConnectTimeout is how long an attempt to connect may take, authentication included; DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// ReconnectDelay is the mean pause before the first attempt to connect again. It grows with each failure, up to
	// MaxReconnectDelay, and varies at random by half. A server that answers but cannot serve yet is asked again within
	// a second. The defaults are DefaultReconnectDelay and DefaultMaxReconnectDelay.
	ReconnectDelay    time.Duration
	MaxReconnectDelay time.Duration
	// AuthRetryTimeout is how long a subscription that has worked goes on when the server refuses the credentials: its
	// password was changed, or it begins with an empty database. Only then does it end with ErrNotAuthenticated.
	// Meanwhile, but for the first second, calls fail with that at once. The default is DefaultAuthRetryTimeout.
	AuthRetryTimeout time.Duration
	// NodeCheckInterval is about how often the cluster is asked whether it goes on without the node that the client is
	// connected to, which is then left: it would answer, but know nothing new. It takes Gossip, or a Discoverer with a
	// method Check as that of discovery.Gossip. The default is DefaultNodeCheckInterval; a negative value asks never.
	NodeCheckInterval time.Duration
	// MaxReconnects closes the client after so many failed attempts in a row. The default, 0, tries for ever.
	MaxReconnects int

	// MaxFrameSize is the largest frame that is received, in bytes; 64 MiB, the server's limit, by default. Reads keep
	// to an eighth of it, as far as can be told from the events before. Larger frames are skipped: a read then asks for
	// less, and fails with a *FrameTooLargeError where it is a single event. A Subscription ends at such an event, or
	// goes on behind it where it fills no gaps; a PersistentSubscription leaves it to its message timeout, and so to
	// the group's parked events; without a timeout it keeps one of the places of InFlight as long as the connection
	// lasts.
	MaxFrameSize int
	// MaxPendingBytes is how much may wait to be written to the connection before calls wait, too;
	// DefaultMaxPendingBytes.
	MaxPendingBytes int

	// CatchUpPageSize, SubscriptionBufferSize, SubscriptionBufferBytes and PersistentInFlight stand for
	// CatchUpOptions.PageSize, BufferSize, BufferBytes and PersistentOptions.InFlight where those are 0. The defaults
	// are DefaultPageSize, DefaultBufferSize, DefaultBufferBytes and DefaultInFlight.
	CatchUpPageSize         int
	SubscriptionBufferSize  int
	SubscriptionBufferBytes int
	PersistentInFlight      int

	// Logger is told of connections, made at Info and lost at Warn, of refused credentials at Error, of subscriptions
	// that end by themselves at Warn and that are dropped at Info, of events that are larger than MaxFrameSize at Warn,
	// and at Debug of operations that are tried again and of the course of subscriptions. The default is none.
	Logger *slog.Logger
	// Hooks are told what happens in the client.
	Hooks []Hook
	// Dial makes the TCP connections, if it is not nil. What it returns must hold some 32 KiB that the peer has not
	// read, as sockets do: callers write small requests themselves, and must not be kept by that.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.HeartbeatInterval, DefaultHeartbeatInterval}, {&c.HeartbeatTimeout, DefaultHeartbeatTimeout},
		{&c.OperationTimeout, DefaultOperationTimeout}, {&c.ConnectTimeout, DefaultConnectTimeout},
		{&c.ReconnectDelay, DefaultReconnectDelay}, {&c.AuthRetryTimeout, DefaultAuthRetryTimeout},
		{&c.NodeCheckInterval, DefaultNodeCheckInterval},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.MaxReconnectDelay == 0 {
		c.MaxReconnectDelay = max(DefaultMaxReconnectDelay, c.ReconnectDelay)
	}
	for _, d := range []struct {
		v   *int
		def int
	}{
		{&c.MaxRetries, DefaultMaxRetries}, {&c.MaxFrameSize, esproto.MaxFrameSize},
		{&c.MaxPendingBytes, DefaultMaxPendingBytes}, {&c.CatchUpPageSize, DefaultPageSize},
		{&c.SubscriptionBufferSize, DefaultBufferSize}, {&c.SubscriptionBufferBytes, DefaultBufferBytes},
		{&c.PersistentInFlight, DefaultInFlight},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.ConnectionName == "" {
		c.ConnectionName = defaultConnectionName
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate reports the first setting that cannot be used, as a *ConfigError. Zero values, which stand for defaults, are
// fine.
func (c *Config) Validate() error {
	if err := c.validateTarget(); err != nil {
		return err
	}
	if c.HTTPEndpoint != "" {
		if _, _, err := httpapi.ParseEndpoint(c.HTTPEndpoint); err != nil {
			return httpEndpointError("HTTPEndpoint", c.HTTPEndpoint, err)
		}
	}
	if c.Credentials != nil {
		if problem := c.Credentials.problem(); problem != "" {
			return &ConfigError{Setting: "Credentials", Reason: problem}
		}
	}
	if !utf8.ValidString(c.ConnectionName) {
		return &ConfigError{Setting: "ConnectionName", Reason: "is not valid UTF-8"}
	}
	for _, d := range []struct {
		setting string
		v       time.Duration
	}{
		{"HeartbeatInterval", c.HeartbeatInterval}, {"HeartbeatTimeout", c.HeartbeatTimeout},
		{"OperationTimeout", c.OperationTimeout}, {"ConnectTimeout", c.ConnectTimeout},
		{"ReconnectDelay", c.ReconnectDelay}, {"MaxReconnectDelay", c.MaxReconnectDelay},
		{"AuthRetryTimeout", c.AuthRetryTimeout},
	} {
		if d.v < 0 {
			return &ConfigError{Setting: d.setting, Value: d.v.String(), Reason: "is negative"}
		}
	}
	if c.MaxReconnectDelay > 0 && c.MaxReconnectDelay < c.ReconnectDelay {
		return &ConfigError{
			Setting: "MaxReconnectDelay", Value: c.MaxReconnectDelay.String(), Reason: "is less than ReconnectDelay",
		}
	}
	if err := c.validateNumbers(); err != nil {
		return err
	}
	if _, i := sortHooks(c.Hooks); i >= 0 {
		return &ConfigError{
			Setting: fmt.Sprintf("Hooks[%d]", i),
			Reason:  fmt.Sprintf("%T implements none of the hook interfaces", c.Hooks[i]),
		}
	}
	return nil
}

func (c *Config) validateNumbers() error {
	if c.MaxReconnects < 0 {
		return &ConfigError{
			Setting: "MaxReconnects", Value: strconv.Itoa(c.MaxReconnects), Reason: "is negative; 0 is for ever",
		}
	}
	for _, n := range []struct {
		setting string
		v       int
		most    int
	}{
		{"MaxFrameSize", c.MaxFrameSize, esproto.MaxFrameSize}, {"MaxPendingBytes", c.MaxPendingBytes, math.MaxInt32},
		{"CatchUpPageSize", c.CatchUpPageSize, MaxPageSize},
		{"SubscriptionBufferSize", c.SubscriptionBufferSize, math.MaxInt32},
		{"SubscriptionBufferBytes", c.SubscriptionBufferBytes, math.MaxInt32},
		{"PersistentInFlight", c.PersistentInFlight, MaxInFlight},
	} {
		if n.v < 0 || n.v > n.most {
			return &ConfigError{
				Setting: n.setting, Value: strconv.Itoa(n.v), Reason: fmt.Sprintf("is not between 0 and %d", n.most),
			}
		}
	}
	return nil
}

// discovers reports whether there may be other nodes to go to.
func (c *Config) discovers() bool { return c.Discoverer != nil || c.Gossip != nil }

func (c *Config) validateTarget() error {
	if c.Discoverer != nil {
		return nil
	}
	if c.Gossip != nil {
		if err := c.Gossip.Validate(); err != nil {
			return &ConfigError{Setting: "Gossip", Reason: "cannot be used", Err: err}
		}
		return nil
	}
	if c.Address == "" {
		return &ConfigError{
			Setting: "Address", Reason: "is missing: give a host and a port, or Gossip, or a Discoverer",
		}
	}
	if _, err := discovery.ParseEndpoint(c.Address); err != nil {
		return &ConfigError{Setting: "Address", Value: withoutUser(c.Address), Reason: "is not host:port", Err: err}
	}
	return nil
}
