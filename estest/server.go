package estest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Option is a setting of [Start] and [Run].
type Option func(*config)

type config struct {
	tcpAddr           string
	httpAddr          string
	persona           Persona
	heartbeatSet      bool
	heartbeatInterval time.Duration
	heartbeatTimeout  time.Duration
	clock             *Clock // nil for the system's
	maxPending        int
	logger            *slog.Logger
	anonymous         bool
	insecure          bool
	snapshot          *Snapshot
	projections       bool
	tls               bool
	users             []*eventlog.User
	starting          time.Duration
	emptyDatabase     time.Duration
	asyncRights       time.Duration
	cluster           clusterConfig
}

// WithTCPAddr sets the host:port for the TCP protocol. The default is a free port of 127.0.0.1.
func WithTCPAddr(addr string) Option { return func(c *config) { c.tcpAddr = addr } }

// WithHTTPAddr sets the host:port for HTTP. An empty address switches HTTP off. The default is a free port of
// 127.0.0.1.
func WithHTTPAddr(addr string) Option { return func(c *config) { c.httpAddr = addr } }

// WithPersona sets the version that the server behaves as. The default is 5.0.11.
func WithPersona(p Persona) Option { return func(c *config) { c.persona = p } }

// WithAnonymousAccess gives clients without credentials the rights of every user, as servers before 23.10 do. Without
// it the persona 23.10 denies them everything. It changes nothing for other personas.
func WithAnonymousAccess() Option { return func(c *config) { c.anonymous = true } }

// WithUser adds a user, or gives a built-in user, admin or ops, another password and more groups. Two groups have
// rights: $admins and $ops. The login must not be empty.
func WithUser(login, password string, groups ...string) Option {
	return func(c *config) {
		c.users = append(c.users, &eventlog.User{Login: login, FullName: login, Password: password, Groups: groups})
	}
}

// WithHeartbeat sets how long a client may be silent before the server sends a heartbeat, 2 s by default, and how long
// the server then waits before it closes the connection, 1 s by default. Both must be positive.
func WithHeartbeat(interval, timeout time.Duration) Option {
	return func(c *config) { c.heartbeatSet, c.heartbeatInterval, c.heartbeatTimeout = true, interval, timeout }
}

// WithPendingSendLimit sets how many bytes may wait for a client that does not read, 10 MiB by default. The server cuts
// off such a client as a slow consumer when it has another event of a subscription for it. The limit must be positive.
func WithPendingSendLimit(bytes int) Option { return func(c *config) { c.maxPending = bytes } }

// WithLogger sets a logger for connections and refused requests. By default the server logs nothing.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.logger = l } }

// Server is an EventStore in the process. Its methods are safe for concurrent use.
type Server struct {
	cfg  config
	core *core
	gate gate  // shut and opened with core.mu held
	node *node // its place in a cluster; nil without one

	traffic        traffic
	gauges         gauges
	heartbeatsHeld atomic.Bool // heartbeats are withheld
	rules          atomic.Pointer[[]*Rule]
	missed         []func() // requests that became due while the server hung; guarded by core.mu

	cutReceived, cutSent cutter

	authority *authority // nil without TLS, like the fields below
	tlsConfig *tls.Config

	life     sync.Mutex // held while the server is started, restarted or closed
	listened bool       // so its addresses are fixed
	started  time.Time  // by the system's clock
	mu       sync.Mutex
	tcp      net.Listener
	web      *http.Server
	http     net.Listener
	down     bool

	wg     sync.WaitGroup // the connections, the listeners and the projections
	halt   chan struct{}  // closed when the process ends
	alarms *alarms
}

// Run starts a server and closes it when the test ends. It fails the test if the server does not start.
func Run(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start starts a server; close it with [Server.Close].
func Start(opts ...Option) (*Server, error) {
	s, err := newServer(opts)
	if err != nil {
		return nil, err
	}
	if err := s.core.begin(&s.cfg); err != nil {
		return nil, err
	}
	s.core.leads(&s.cfg)
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// newServer makes a server that does not listen yet and holds nothing.
func newServer(opts []Option) (*Server, error) {
	cfg := config{
		tcpAddr: "127.0.0.1:0", httpAddr: "127.0.0.1:0", persona: Persona5011,
		heartbeatInterval: 2 * time.Second, heartbeatTimeout: time.Second,
		maxPending: 10 << 20,
	}
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.logger == nil {
		cfg.logger = slog.New(slog.DiscardHandler)
	}
	if cfg.heartbeatInterval <= 0 || cfg.heartbeatTimeout <= 0 {
		return nil, errors.New("estest: heartbeat interval and timeout must be positive")
	}
	if cfg.maxPending <= 0 {
		return nil, errors.New("estest: the limit of bytes to be sent must be positive")
	}
	if cfg.starting < 0 || cfg.emptyDatabase < 0 {
		return nil, errors.New("estest: the times of WithStartUp must not be negative")
	}
	if slices.ContainsFunc(cfg.users, func(u *eventlog.User) bool { return u.Login == "" }) {
		return nil, errors.New("estest: the login of a user is empty")
	}
	p, err := personaOf(cfg.persona)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkInsecure(p); err != nil {
		return nil, err
	}
	if cfg.anonymous || cfg.insecure {
		p.DeniesAnonymous = false
	}
	var c clock = systemClock{}
	if cfg.clock != nil {
		c = cfg.clock
	}
	s := &Server{cfg: cfg, core: newCore(p, cfg.logger, c), down: true, started: time.Now()}
	s.gauges.at, s.gauges.cpu = s.started, cpuOfProcess() // the process may have computed long before
	s.core.insecure = cfg.insecure
	if cfg.projections {
		s.core.projector = eventlog.NewProjector(s.core.log, s.core.mayProject, func() { s.core.projected.raise() })
	}
	if cfg.tls {
		return s, s.prepareTLS()
	}
	return s, nil
}

func (s *Server) start() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.listen()
}

// listen opens the ports and starts everything that runs. The addresses are fixed from the first time on.
func (s *Server) listen() error {
	tcp, err := listenAgain(s.cfg.tcpAddr)
	if err != nil {
		return fmt.Errorf("estest: the TCP port: %w", err)
	}
	var web net.Listener
	if s.cfg.httpAddr != "" {
		if web, err = listenAgain(s.cfg.httpAddr); err != nil {
			tcp.Close()
			return fmt.Errorf("estest: the HTTP port: %w", err)
		}
	}
	if !s.listened {
		s.listened, s.cfg.tcpAddr = true, tcp.Addr().String()
		if web != nil {
			s.cfg.httpAddr = web.Addr().String()
		}
	}

	s.core.processBegins(&s.cfg)
	s.mu.Lock()
	s.tcp, s.http, s.alarms, s.halt, s.down = tcp, web, newAlarms(s.core.clock), make(chan struct{}), false
	s.mu.Unlock()
	s.wg.Go(func() { s.accept(tcp) })
	s.alarms.after(tickInterval, s.tick)
	if p := s.core.projector; p != nil {
		s.wg.Go(func() { s.project(p, s.halt) })
		s.alarms.after(s.cfg.starting, func() {
			s.core.mu.Lock()
			defer s.core.mu.Unlock()
			p.Signal()
		})
	}
	if web != nil {
		s.web = s.newWeb()
		s.wg.Go(func() { _ = s.web.Serve(s.encryptedListener(web)) }) // always ends with ErrServerClosed
	}
	s.node.joins()
	return nil
}

// listenAgain listens at an address that was in use a moment ago.
func listenAgain(addr string) (l net.Listener, err error) {
	var listening net.ListenConfig
	for range 50 {
		if l, err = listening.Listen(context.Background(), "tcp", addr); err == nil {
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, err
}

func (s *Server) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := newConn(s, nc, s.encrypted(nc))
		s.mu.Lock()
		if s.down {
			s.mu.Unlock()
			nc.Close()
			return
		}
		s.core.mu.Lock()
		s.core.conns[c] = struct{}{}
		s.traffic.connections.Add(1)
		s.core.mu.Unlock()
		s.wg.Go(c.run)
		s.mu.Unlock()
	}
}

// tick makes the persistent subscriptions check their clocks once a second, as the real server does.
func (s *Server) tick() {
	s.core.mu.Lock()
	if !s.gate.isShut() && !s.core.stopping {
		s.core.groups.Tick()
	}
	s.core.mu.Unlock()
	s.alarms.after(tickInterval, s.tick)
}

const tickInterval = time.Second

// DropConnections cuts every TCP connection. Clients may reconnect at once: the groups have the events in flight back
// before a client can notice the cut.
func (s *Server) DropConnections() {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	for c := range s.core.conns {
		c.forget()
	}
	for c := range s.core.conns {
		c.end()
	}
}

// Pause makes the server hang until [Server.Resume]: connections stay, and the system accepts new ones, but the server
// reads, answers and sends nothing, not even heartbeats. It changes nothing either: delayed work, as by [Delay],
// happens after Resume. [Server.Close] and [Server.Crash] kill the server while it hangs: the requests that it has not
// served are lost. So a [Server.Snapshot] after Pause has all that such a server has confirmed.
func (s *Server) Pause() {
	s.core.mu.Lock() // waits for operations that have passed the gate
	s.gate.close()
	s.core.mu.Unlock()
	s.node.hangs(true)
}

// Resume ends [Server.Pause].
func (s *Server) Resume() {
	s.node.hangs(false)
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	s.awake()
}

// later has a request served when d has passed, or, if the server hangs then, when it hangs no more. serve is called
// with core.mu held; it is not if the process ends before.
func (s *Server) later(d time.Duration, serve func()) {
	s.alarms.after(d, func() {
		s.core.mu.Lock()
		defer s.core.mu.Unlock()
		if s.gate.isShut() {
			s.missed = append(s.missed, serve)
			return
		}
		serve()
	})
}

// awake ends a hang. core.mu is held.
func (s *Server) awake() {
	s.gate.open()
	missed := s.missed
	s.missed = nil
	for _, serve := range missed {
		serve()
	}
}

// lockAwake locks core.mu while the server does not hang. It returns false, and has locked nothing, if the process or
// stop ends before: what a process that was killed has not served is lost.
func (s *Server) lockAwake(stop <-chan struct{}) (locked bool) {
	for {
		s.core.mu.Lock()
		hangs, closed := s.gate.isShut(), s.core.closed
		if !hangs && !closed {
			return true
		}
		s.core.mu.Unlock()
		if closed || !s.gate.wait(stop) {
			return false
		}
	}
}

// Addr returns the host:port of the TCP protocol.
func (s *Server) Addr() string { return s.cfg.tcpAddr }

// HTTPAddr returns the host:port of HTTP; it is empty if the server has no HTTP.
func (s *Server) HTTPAddr() string { return s.cfg.httpAddr }

// HTTPURL returns the base URL of HTTP without a slash at the end; it is empty if the server has no HTTP.
func (s *Server) HTTPURL() string {
	if s.cfg.httpAddr == "" {
		return ""
	}
	if s.cfg.tls {
		return "https://" + s.cfg.httpAddr
	}
	return "http://" + s.cfg.httpAddr
}

// ConnectionString returns a connection string for the administrator. With TLS the client must also trust
// [Server.CertPool].
func (s *Server) ConnectionString() string {
	u := url.URL{Scheme: "tcp", User: s.cfg.administrator(), Host: s.Addr()}
	if s.cfg.tls {
		u.Scheme = "tls"
	}
	return u.String()
}

// administrator returns the credentials of admin.
func (c *config) administrator() *url.Userinfo {
	password := "changeit"
	for _, u := range c.users {
		if u.Login == "admin" {
			password = u.Password
		}
	}
	return url.UserPassword("admin", password)
}
