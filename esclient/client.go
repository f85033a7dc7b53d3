package esclient

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// Client is a client of one EventStore, a node or a cluster, over one TCP connection at a time. All its methods may be
// called by any number of goroutines at once; their requests share the connection.
//
// Calls wait for a connection until their context ends; what is lost with a connection is made good where that is safe.
type Client struct {
	cfg     Config
	hooks   hookSet
	manager *engine.Manager

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the goroutines that subscribe anew

	closing    atomic.Bool // calls fail from now on; written with mu held
	mu         sync.Mutex
	persistent map[*PersistentSubscription]struct{}
}

// Open makes a Client from a connection string; see ParseConnectionString and New.
func Open(connectionString string) (*Client, error) {
	cfg, err := ParseConnectionString(connectionString)
	if err != nil {
		return nil, err
	}
	return New(cfg)
}

// New makes a Client, which begins at once to connect in the background. It fails for a configuration that cannot be
// used, with a *ConfigError, but not for a server that cannot be reached: see Connect. Close must be called in the end.
func New(cfg Config) (*Client, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, persistent: make(map[*PersistentSubscription]struct{})}
	c.hooks, _ = sortHooks(cfg.Hooks)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	d, err := newDialer(&cfg)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.manager = engine.NewManager(engine.ManagerConfig{
		Dial:   d.dial,
		Report: d.report,
		Pause:  d.pause,
		Conn: engine.ConnConfig{
			HeartbeatInterval: cfg.HeartbeatInterval,
			HeartbeatTimeout:  cfg.HeartbeatTimeout,
			OperationTimeout:  cfg.OperationTimeout,
			WriteTimeout:      writeTimeout,
			MaxFrameSize:      cfg.MaxFrameSize,
			MaxPendingBytes:   cfg.MaxPendingBytes,
		},
		Credentials:     cfg.Credentials,
		ConnectionName:  cfg.ConnectionName,
		ConnectTimeout:  cfg.ConnectTimeout,
		ReconnectDelay:  cfg.ReconnectDelay,
		ReconnectMax:    cfg.MaxReconnectDelay,
		MaxReconnects:   cfg.MaxReconnects,
		Events:          c.events(),
		TLSForRedirects: cfg.TLS != nil,
	})
	return c, nil
}

// writeTimeout is how long the peer may take nothing while the client has something to send.
const writeTimeout = 15 * time.Second

// Connect waits until the client is connected. That is never necessary, since calls wait by themselves, but tells early
// what is wrong. The error of a context that ends names the last connection error; a server that refuses the
// credentials, or is no EventStore, is an error at once. The client goes on trying in any case.
func (c *Client) Connect(ctx context.Context) error {
	_, err := c.manager.Conn(ctx)
	return err
}

// stopTimeout is how long Close waits for the server to take back unacked events.
const stopTimeout = time.Second

// Close ends the client, its connection and its subscriptions. Pending calls fail with ErrClosed. Persistent
// subscriptions send their acks first and give their unacked events back, for which Close waits up to a second. It may
// be called more than once, and returns when everything has ended.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing.Store(true)
	subs := make([]*PersistentSubscription, 0, len(c.persistent))
	for p := range c.persistent {
		subs = append(subs, p)
	}
	c.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range subs {
		wg.Go(func() { p.stop(ctx, ErrClosed) })
	}
	wg.Wait()
	c.cancel()
	c.manager.Close()
	c.wg.Wait()
	return nil
}

// Closed is closed when the client has ended: by Close, or because MaxReconnects was reached.
func (c *Client) Closed() <-chan struct{} { return c.manager.Done() }

// goUnlessClosing runs f in a goroutine that Close waits for. It returns false if the client is being closed.
func (c *Client) goUnlessClosing(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() {
		return false
	}
	c.wg.Go(f)
	return true
}

// register lets Close stop p. It fails if the client is being closed.
func (c *Client) register(p *PersistentSubscription) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() {
		return ErrClosed
	}
	c.persistent[p] = struct{}{}
	return nil
}

func (c *Client) unregister(p *PersistentSubscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.persistent, p)
}

// events passes what the connection manager tells on to the log and the hooks.
func (c *Client) events() engine.Events {
	log, hooks := c.cfg.Logger, &c.hooks
	return engine.Events{
		Connected: func(endpoint string) {
			log.Info("connected", "endpoint", endpoint)
			for _, h := range hooks.connected {
				h.OnConnected(ConnectionInfo{Endpoint: endpoint})
			}
		},
		Disconnected: func(endpoint string, err error) {
			if errors.Is(err, ErrClosed) {
				log.Info("disconnected", "endpoint", endpoint)
			} else {
				log.Warn("connection lost", "endpoint", endpoint, "error", err)
			}
			for _, h := range hooks.disconnected {
				h.OnDisconnected(ConnectionInfo{Endpoint: endpoint, Err: err})
			}
		},
		Reconnecting: func(attempt int, delay time.Duration, err error) {
			log.Info("connecting again", "attempt", attempt, "delay", delay, "error", err)
			for _, h := range hooks.reconnecting {
				h.OnReconnecting(ConnectionInfo{Attempt: attempt, Delay: delay, Err: err})
			}
		},
		AuthFailed: func(endpoint string, err error) {
			log.Error("authentication failed", "endpoint", endpoint, "error", err)
			for _, h := range hooks.authFailed {
				h.OnAuthenticationFailed(ConnectionInfo{Endpoint: endpoint, Err: err})
			}
		},
		Closed: func(err error) {
			log.Info("client closed")
			for _, h := range hooks.closed {
				h.OnClosed(ConnectionInfo{Err: err})
			}
		},
	}
}
