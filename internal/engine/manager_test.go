package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// journal notes the events of a Manager.
type journal struct {
	mu   sync.Mutex
	what []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.what = append(j.what, s)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.what...)
}

func (j *journal) events() Events {
	return Events{
		Connected:    func(string) { j.add("connected") },
		Disconnected: func(string, error) { j.add("disconnected") },
		Reconnecting: func(int, time.Duration, error) { j.add("reconnecting") },
		AuthFailed:   func(string, error) { j.add("refused") },
		Closed:       func(error) { j.add("closed") },
	}
}

func managerConfig(j *journal, addr string) ManagerConfig {
	return ManagerConfig{
		Dial: func(ctx context.Context, redirect string) (net.Conn, string, error) {
			to := addr
			if redirect != "" {
				to = redirect
			}
			nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			return nc, to, err
		},
		Report:         func(string, error) {},
		Pause:          func(error) time.Duration { return 0 },
		Conn:           connConfig(),
		Credentials:    &esproto.Credentials{Login: "admin", Password: "changeit"},
		ConnectionName: "test",
		ConnectTimeout: 5 * time.Second,
		ReconnectDelay: time.Millisecond,
		ReconnectMax:   5 * time.Millisecond,
		Events:         j.events(),
	}
}

func manage(t testing.TB, cfg ManagerConfig) *Manager {
	m := NewManager(cfg)
	t.Cleanup(m.Close)
	return m
}

func TestHandshakeComesBeforeEverythingElse(t *testing.T) {
	var got []esproto.Command
	var name string
	done := make(chan struct{})
	addr := listen(t, func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			got = append(got, f.Command)
			switch f.Command {
			case esproto.CmdAuthenticate:
				creds, rest, err := esproto.SplitCredentials(f.Payload)
				assert.NoError(t, err)
				assert.Empty(t, rest)
				assert.Equal(t, "admin", creds.Login)
			case esproto.CmdIdentifyClient:
				var m esproto.IdentifyClient
				assert.NoError(t, proto.Unmarshal(f.Payload, &m))
				assert.Equal(t, int32(1), m.GetVersion())
				name = m.GetConnectionName()
			case esproto.CmdPing:
				defer close(done)
			}
			p.Reply(f)
			if f.Command == esproto.CmdPing {
				return
			}
		}
	})
	j := &journal{}
	m := manage(t, managerConfig(j, addr))
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	_, err = c.Do(background(t), &ping{}, nil)
	require.NoError(t, err)
	<-done
	assert.Equal(t, []esproto.Command{esproto.CmdAuthenticate, esproto.CmdIdentifyClient, esproto.CmdPing}, got)
	assert.Equal(t, "test", name)
}

func TestALostConnectionIsReplaced(t *testing.T) {
	var conns atomic.Int32
	addr := listen(t, func(p *peer) {
		n := conns.Add(1)
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			if f.Command == esproto.CmdPing && n < 3 {
				return // cut
			}
			p.Reply(f)
		}
	})
	j := &journal{}
	m := manage(t, managerConfig(j, addr))
	for range 2 {
		c, err := m.Conn(background(t))
		require.NoError(t, err)
		_, err = c.Do(background(t), &ping{}, nil)
		require.Error(t, err)
	}
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	_, err = c.Do(background(t), &ping{}, nil)
	require.NoError(t, err)
	m.Close()
	assert.Equal(t, []string{"connected", "disconnected", "reconnecting", "connected", "disconnected", "reconnecting",
		"connected", "disconnected", "closed"}, j.all())
}

func TestRefusedCredentialsFailFastAndAreTriedAgain(t *testing.T) {
	var wrong atomic.Bool
	wrong.Store(true)
	addr := listen(t, func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			if f.Command == esproto.CmdAuthenticate && wrong.Load() {
				p.Send(esproto.CmdNotAuthenticated, f.CorrelationID, []byte("Unauthorized"))
				continue
			}
			p.Reply(f)
		}
	})
	j := &journal{}
	m := manage(t, managerConfig(j, addr))
	_, err := m.Conn(context.Background())
	require.ErrorIs(t, err, ErrNotAuthenticated)
	assert.Contains(t, j.all(), "refused")
	wrong.Store(false)
	require.Eventually(t, func() bool {
		_, err := m.Conn(background(t))
		return err == nil
	}, 5*time.Second, time.Millisecond)
}

func TestAServerThatStartsIsWaitedFor(t *testing.T) {
	var tries atomic.Int32
	addr := listen(t, func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			if f.Command == esproto.CmdAuthenticate {
				switch tries.Add(1) {
				case 1:
					p.Send(esproto.CmdNotAuthenticated, f.CorrelationID, []byte("Server not yet ready"))
					continue
				case 2:
					p.Send(esproto.CmdNotHandled, f.CorrelationID, []byte{8, 0})
					continue
				}
			}
			p.Reply(f)
		}
	})
	m := manage(t, managerConfig(&journal{}, addr))
	_, err := m.Conn(background(t))
	assert.NoError(t, err)
	assert.Equal(t, int32(3), tries.Load())
}

func TestContextEndsTheWaitForAConnectionAndSaysWhy(t *testing.T) {
	addr := wiretest.Refusing(t)
	m := manage(t, managerConfig(&journal{}, addr))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Conn(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var conn *ConnectionError
	require.ErrorAs(t, err, &conn)
	assert.Equal(t, addr, conn.Endpoint)
}

func TestASilentServerIsNoEventStore(t *testing.T) {
	addr := listen(t, func(p *peer) {
		for {
			if _, _, err := p.Frames.Next(); err != nil {
				return
			}
		}
	})
	cfg := managerConfig(&journal{}, addr)
	cfg.ConnectTimeout = 30 * time.Millisecond
	m := manage(t, cfg)
	_, err := m.Conn(context.Background())
	assert.ErrorIs(t, err, ErrNotEventStore)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "no connection within 30ms")
}

func TestAServerThatIsSlowToStartIsWaitedFor(t *testing.T) {
	var conns atomic.Int32
	addr := listen(t, func(p *peer) {
		if conns.Add(1) < silentAttempts {
			io.Copy(io.Discard, p)
			return
		}
		p.Echo()
	})
	cfg := managerConfig(&journal{}, addr)
	cfg.ConnectTimeout = 100 * time.Millisecond
	c, err := manage(t, cfg).Conn(background(t))
	require.NoError(t, err)
	_, err = c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err)
}

func TestAServerThatFallsSilentIsWaitedFor(t *testing.T) {
	var conns atomic.Int32
	addr := listen(t, func(p *peer) {
		n := conns.Add(1)
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			if n == 1 && f.Command == esproto.CmdPing {
				return
			}
			if n == 1 || n > 3 {
				p.Reply(f) // the second and third connection get no reply
			}
		}
	})
	cfg := managerConfig(&journal{}, addr)
	cfg.ConnectTimeout = 30 * time.Millisecond
	m := manage(t, cfg)
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	_, err = c.Do(background(t), &ping{}, nil)
	require.Error(t, err)
	c, err = m.Conn(background(t))
	require.NoError(t, err)
	_, err = c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err)
	assert.Equal(t, int32(4), conns.Load())
}

func TestMaxReconnectsClosesTheManager(t *testing.T) {
	addr := wiretest.Refusing(t)
	j := &journal{}
	cfg := managerConfig(j, addr)
	cfg.MaxReconnects = 2
	m := manage(t, cfg)
	<-m.Done()
	_, err := m.Conn(background(t))
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorContains(t, err, "2 attempts")
	assert.Equal(t, []string{"reconnecting", "reconnecting", "closed"}, j.all())
}

// errNotLeader is the answer of a follower.
var errNotLeader = &NotHandledError{Reason: esproto.NotHandled_NotLeader}

func TestRedirectGoesToTheNamedNode(t *testing.T) {
	leader := listen(t, (*peer).Echo)
	j := &journal{}
	m := manage(t, managerConfig(j, listen(t, (*peer).Echo)))
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	m.Redirect(c, leader, errNotLeader)
	m.Redirect(c, leader, errNotLeader) // a second caller that got the same reply
	c, err = m.Conn(background(t))
	require.NoError(t, err)
	assert.Equal(t, leader, c.Endpoint())
	_, err = c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err)
}

func TestCloseEndsWaitersAndIsRepeatable(t *testing.T) {
	addr := wiretest.Refusing(t)
	m := NewManager(managerConfig(&journal{}, addr))
	errs := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := m.Conn(context.Background())
			errs <- err
		}()
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(m.Close)
	}
	for range 10 {
		assert.ErrorIs(t, <-errs, ErrClosed)
	}
	wg.Wait()
}

func TestANodeThatIsNotOneToBeConnectedToIsLeft(t *testing.T) {
	var conns, checks atomic.Int32
	cfg := managerConfig(&journal{}, listen(t, func(p *peer) {
		conns.Add(1)
		p.Echo()
	}))
	cfg.CheckInterval = time.Millisecond
	lost := errors.New("the cluster goes on without it")
	cfg.Check = func(_ context.Context, endpoint string) error {
		assert.NotEmpty(t, endpoint)
		if checks.Add(1) == 5 {
			return lost
		}
		return nil
	}
	left := make(chan error, 100)
	cfg.Events.Disconnected = func(_ string, err error) { left <- err }
	m := manage(t, cfg)
	assert.ErrorIs(t, <-left, lost)
	_, err := m.Conn(background(t))
	require.NoError(t, err)
	assert.Equal(t, int32(2), conns.Load())
	m.Close()
	assert.ErrorIs(t, <-left, ErrClosed, "it is left once")
}

func TestACheckEndsWithTheConnection(t *testing.T) {
	began := make(chan struct{}, 100)
	cfg := managerConfig(&journal{}, listen(t, (*peer).Echo))
	cfg.CheckInterval = time.Millisecond
	cfg.Check = func(ctx context.Context, _ string) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	m := manage(t, cfg)
	<-began
	lose(t, m)
	<-began // of the next connection
	m.Close()
}
