package esclient

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// Client is a client of one EventStore, a node or a cluster. It has one TCP connection at a time. Any number of
// goroutines may call its methods at once; their requests share the connection.
//
// Calls wait for a connection until their context ends. After a lost connection the client repeats calls if that is
// safe.
type Client struct {
	cfg     *Config // a pointer, so that no verb prints the fields
	hooks   hookSet
	manager *engine.Manager
	dialer  *dialer

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	goroutines goroutines // they resume subscriptions and call hooks
	told       hookQueue  // calls the hooks of the connection

	configs    configReads
	firstLooks firstLooks
	groupTurns chan struct{} // holds a token for each change of a group that is sent

	redirected atomic.Bool // a node named another node as the leader
	closing    atomic.Bool // new calls fail; written with mu held
	closed     chan struct{}
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
	c := &Client{cfg: &cfg, persistent: make(map[*PersistentSubscription]struct{}), closed: make(chan struct{})}
	c.hooks, _ = sortHooks(cfg.Hooks)
	c.told = newHookQueue(&c.goroutines, &c.hooks)
	c.configs.client, c.firstLooks.client = c, c
	c.groupTurns = make(chan struct{}, maxGroupChanges)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	d, err := newDialer(&cfg)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.dialer = d
	c.manager = engine.NewManager(engine.ManagerConfig{
		Dial:   d.dial,
		Report: d.report,
		Pause:  d.pause,
		Check:  d.checker(),

		Recognise: d.recognise,
		Conn: engine.ConnConfig{
			HeartbeatInterval: cfg.HeartbeatInterval,
			HeartbeatTimeout:  cfg.HeartbeatTimeout,
			OperationTimeout:  cfg.OperationTimeout,
			WriteTimeout:      writeTimeout,
			MaxFrameSize:      cfg.MaxFrameSize,
			MaxPendingBytes:   cfg.MaxPendingBytes,
		},
		Credentials:    (*esproto.Credentials)(cfg.Credentials),
		ConnectionName: cfg.ConnectionName,
		ConnectTimeout: cfg.ConnectTimeout,
		ReconnectDelay: cfg.ReconnectDelay,
		ReconnectMax:   cfg.MaxReconnectDelay,
		MaxReconnects:  cfg.MaxReconnects,
		CheckInterval:  cfg.NodeCheckInterval,
		Events:         c.events(),
	})
	return c, nil
}

// writeTimeout is how long the peer may read nothing while the client has something to send.
const writeTimeout = 15 * time.Second

// Connect waits until the client is connected. Calls wait by themselves, so Connect is never necessary, but it returns
// errors early. When ctx ends, the error has the last connection error. Connect fails at once if the server refuses the
// credentials or, before the first connection, is no EventStore. The client goes on trying in any case.
func (c *Client) Connect(ctx context.Context) error {
	_, err := c.manager.Conn(ctx)
	return fromEngine(err)
}

const (
	// stopTimeout is how long Close waits for the server to take back unacked events.
	stopTimeout = time.Second
	// hookTimeout is how long Close waits for hooks that are running. One of them may itself wait for Close.
	hookTimeout = time.Second
)

// Close ends the client, its connection and its subscriptions. Calls that are under way fail with [ErrClosed].
// Persistent subscriptions first send their acks and give their unacked events back, for which Close waits up to a
// second. Close may be called more than once, and returns when everything has ended.
//
// Close waits up to a second for hooks that are running. If a hook calls Close, it waits for itself that long, or for
// two seconds if Close has ended the persistent subscription that the hook is called for.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closing.Swap(true)
	c.mu.Unlock()
	if first {
		go c.shutDown()
	}
	<-c.closed
	return nil
}

// shutDown ends everything. After it nothing is registered or started any more.
func (c *Client) shutDown() {
	defer close(c.closed)
	c.mu.Lock()
	subs := slices.Collect(maps.Keys(c.persistent))
	c.mu.Unlock()

	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	stopped := make(chan struct{}, len(subs))
	for _, p := range subs {
		c.goroutines.start(func() {
			_ = p.stop(ctx, ErrClosed) // it has ended, with or without a reply
			stopped <- struct{}{}
		})
	}
	for range subs {
		select {
		case <-stopped:
		case <-limit.C:
			limit.Reset(0) // fire again
		}
	}
	c.cancel()
	c.manager.Close()
	c.goroutines.wait(hookTimeout)
}

// Closed returns a channel that is closed when the client has ended: by Close, or after Config.MaxReconnects failed
// attempts. Each [ClosedHook] has returned by then, unless a hook hangs.
func (c *Client) Closed() <-chan struct{} { return c.manager.Done() }

// Config returns the configuration of the client, with the defaults filled in. It shares pointers and slices with the
// client, so the caller must not change them.
func (c *Client) Config() Config { return *c.cfg }

// goUnlessClosing runs f in a goroutine that Close waits for. It returns false if the client is being closed.
func (c *Client) goUnlessClosing(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() {
		return false
	}
	c.goroutines.start(f)
	return true
}

// register makes Close stop p. It fails if the client is being closed.
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

// events passes the reports of the connection manager to the log and the hooks.
func (c *Client) events() engine.Events {
	log := c.cfg.Logger
	return engine.Events{
		Connected: func(endpoint string) {
			log.Info("connected", "endpoint", endpoint)
			c.told.tell(noticeConnected, ConnectionInfo{Endpoint: endpoint})
		},
		Disconnected: func(endpoint string, err error) {
			err = fromEngine(err)
			if errors.Is(err, ErrClosed) {
				log.Info("disconnected", "endpoint", endpoint)
			} else {
				log.Warn("connection lost", "endpoint", endpoint, "error", err)
			}
			c.told.tell(noticeDisconnected, ConnectionInfo{Endpoint: endpoint, Err: err})
		},
		Reconnecting: func(attempt int, delay time.Duration, err error) {
			err = fromEngine(err)
			level := slog.LevelInfo
			if attempt%10 == 0 {
				level = slog.LevelWarn
			}
			log.Log(context.Background(), level, "reconnecting", "attempt", attempt, "delay", delay, "error", err)
			c.told.tell(noticeReconnecting, ConnectionInfo{Attempt: attempt, Delay: delay, Err: err})
		},
		AuthFailed: func(endpoint string, err error) {
			err = fromEngine(err)
			log.Error("authentication failed", "endpoint", endpoint, "error", err)
			c.told.tell(noticeAuthFailed, ConnectionInfo{Endpoint: endpoint, Err: err})
		},
		Closed: func(err error) {
			log.Info("client closed")
			c.told.tell(noticeClosed, ConnectionInfo{Err: fromEngine(err)})
			c.told.flush(hookTimeout)
		},
	}
}
