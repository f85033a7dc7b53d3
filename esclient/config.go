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
	DefaultConnectionName    = "watermill-eventstore"
)

// Config is the configuration of a Client. Only Address, Gossip or Discoverer is required. [ParseConnectionString]
// makes a Config from a string, and the caller may then change it. String prints it without the password.
type Config struct {
	// Address is the host:port of a node. Without a port it is [DefaultPort]. Discoverer and Gossip take precedence
	// over it.
	Address string
	// Gossip, if not nil, makes the client ask the nodes of a cluster for the node to connect to. It takes precedence
	// over Address. Its SecureTCP follows TLS. If it has TLS and no Credentials, it sends those of this Config.
	Gossip *discovery.GossipConfig
	// Discoverer, if not nil, finds the node to connect to; see package discovery. It takes precedence over Gossip and
	// Address. If it has further methods of discovery.Gossip, the client uses them: MapEndpoint for the leader that
	// another node names, Members to connect only to a leader that is one of them, and Check; see NodeCheckInterval.
	Discoverer discovery.Discoverer
	// TLS, if not nil, encrypts the connection. The client verifies the server's certificate unless TLS says otherwise.
	// Without a ServerName the certificate must be that of the host.
	TLS *tls.Config
	// TLSCAFile names a PEM file with the certificates of the authorities to trust instead of the system's. It applies
	// if TLS is set without RootCAs, and also to Gossip and package esadmin. New reads the file, and so does each
	// connection, so the file may be replaced. If it cannot be read, the client logs that and uses the content that it
	// read last.
	TLSCAFile string
	// HTTPEndpoint is the server's HTTP interface, for package esadmin and Client.GroupSettings: host:port, or a URL
	// that begins with http:// or https://. The default follows from Gossip or Address; see there.
	HTTPEndpoint string
	// Credentials are those of the connection. A call may have its own; see [WithCredentials]. With nil the connection
	// is anonymous.
	Credentials *Credentials
	// ConnectionName is the name of the connection in the server's logs and statistics. The default is
	// [DefaultConnectionName].
	ConnectionName string

	// HeartbeatInterval is the silence after which the client sends a heartbeat, and HeartbeatTimeout the further
	// silence after which it closes the connection. Any received byte ends the silence, and so does any progress of the
	// sent bytes. Since a proxy may hold a request of 64 KiB or more, such a request has in addition a second for each
	// 32 KiB, up to 30 s. The defaults are [DefaultHeartbeatInterval] and [DefaultHeartbeatTimeout].
	HeartbeatInterval time.Duration
	HeartbeatTimeout  time.Duration
	// OperationTimeout is how long an attempt waits for the server's reply. The default is [DefaultOperationTimeout].
	// The time runs from the last progress of the request, with the same addition for a proxy. It does not run while
	// the reply, or bytes before it, are coming. If other bytes come and the server answers no heartbeat, an attempt
	// ends after three times as long; the time of single large replies does not count then.
	OperationTimeout time.Duration
	// MaxRetries is how often the client repeats an operation, if that is safe, before it fails. The default is
	// [DefaultMaxRetries]. Lost connections, missing replies, the server's own timeouts and nodes that are not the
	// leader count. To wait for a connection does not count, nor does a server that is not ready or too busy: the
	// client asks again until the context of the call ends. To ask for a smaller page does not count either. A negative
	// value allows no repetition, except for a smaller page.
	MaxRetries int
	// AllowFollower allows other nodes of a cluster than the leader to answer reads, which may then lag behind, and to
	// forward writes.
	AllowFollower bool

	// ConnectTimeout is how long an attempt to connect may take, authentication included. The default is
	// [DefaultConnectTimeout].
	ConnectTimeout time.Duration
	// ReconnectDelay is the mean pause before the first attempt to connect again. The pause grows with each failure, up
	// to MaxReconnectDelay, and varies at random by half. If a server answers but cannot serve yet, the pause is less
	// than a second. The defaults are [DefaultReconnectDelay] and [DefaultMaxReconnectDelay].
	ReconnectDelay    time.Duration
	MaxReconnectDelay time.Duration
	// AuthRetryTimeout is how long a subscription that has worked goes on if the server refuses the credentials. The
	// password may have changed, or the server may have begun with an empty database. After that time the subscription
	// ends with [ErrNotAuthenticated]. Calls fail with that error at once, except in the first second. The default is
	// [DefaultAuthRetryTimeout].
	AuthRetryTimeout time.Duration
	// NodeCheckInterval is about how often the client asks the cluster whether it goes on without the node that the
	// client is connected to. If so, the client leaves the node, which would answer without knowing new events. This
	// needs Gossip, or a Discoverer with a method Check as that of discovery.Gossip. The default is
	// [DefaultNodeCheckInterval]. With a negative value the client never asks.
	NodeCheckInterval time.Duration
	// MaxReconnects is the number of failed attempts in a row after which the client closes. The default, 0, is no
	// limit.
	MaxReconnects int

	// MaxFrameSize is the size in bytes of the largest frame that the client receives. The default is the server's
	// limit, 64 MiB. Reads ask for no more than an eighth of it, as far as the size of earlier events tells. The client
	// skips larger frames. A read then asks for less, and fails with a [*FrameTooLargeError] for a single event. A
	// Subscription ends at such an event or, without FillGaps, goes on after it. A PersistentSubscription leaves the
	// event to its message timeout, and the server parks it in the end. Without a timeout the event takes one of the
	// places of InFlight until the connection ends.
	MaxFrameSize int
	// MaxPendingBytes is how many bytes may wait to be written to the connection before calls wait, too. The default is
	// [DefaultMaxPendingBytes].
	MaxPendingBytes int

	// CatchUpPageSize, SubscriptionBufferSize, SubscriptionBufferBytes and PersistentInFlight are the defaults of
	// CatchUpOptions.PageSize, BufferSize, BufferBytes and PersistentOptions.InFlight. Their own defaults are
	// [DefaultPageSize], [DefaultBufferSize], [DefaultBufferBytes] and [DefaultInFlight].
	CatchUpPageSize         int
	SubscriptionBufferSize  int
	SubscriptionBufferBytes int
	PersistentInFlight      int

	// Logger logs connections (Info; Warn when they are lost, and for each 10th attempt to connect again), refused
	// credentials (Error), subscriptions that end by themselves (Warn) or that the server drops (Info), events that are
	// larger than MaxFrameSize (Warn), and repeated operations and the course of subscriptions (Debug). With nil
	// nothing is logged.
	Logger *slog.Logger
	// Hooks are called for events in the client; see [Hook].
	Hooks []Hook
	// Dial, if not nil, makes the TCP connections. A connection must hold some 32 KiB that the peer has not read, as
	// sockets do: callers write small requests themselves, and must not wait for that.
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
		c.ConnectionName = DefaultConnectionName
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

// discovers reports whether the client may connect to other nodes.
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
