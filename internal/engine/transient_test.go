package engine

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// says is a peer that sends bytes, for any request, and closes the connection.
func says(text string) func(p *peer) {
	return func(p *peer) {
		p.Write([]byte(text))
		p.Next()
	}
}

// refuses is a peer that answers Authenticate with NotAuthenticated.
func refuses(text string) func(p *peer) {
	return func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			p.Send(esproto.CmdNotAuthenticated, f.CorrelationID, []byte(text))
		}
	}
}

var strays = map[string]func(p *peer){
	"HTTP":             says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
	"short HTTP":       says("HTTP/"),
	"SSH":              says("SSH-2.0-OpenSSH_9.6\r\n"),
	"TLS alert":        says("\x15\x03\x01\x00\x02\x02\x46"),
	"something else":   says("\xff\xff\xff\xff what is that?"),
	"nothing":          func(*peer) {},
	"not yet ready":    refuses("Server not yet ready"),
	"not ready":        refuses("Server not ready"),
	"a fresh database": refuses("Unauthorized"),
}

// actor is an address at which one peer plays after the other.
type actor struct {
	plays atomic.Pointer[func(p *peer)]
	conns atomic.Int32
}

func (a *actor) play(f func(p *peer)) { a.plays.Store(&f) }

func (a *actor) listen(t testing.TB) string {
	return listen(t, func(p *peer) {
		a.conns.Add(1)
		(*a.plays.Load())(p)
	})
}

// lose has the connection of m end from the other side.
func lose(t testing.TB, m *Manager) {
	t.Helper()
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	c.die(errors.New("lost"))
}

func TestAStrayAnswerIsWaitedOutAfterASuccess(t *testing.T) {
	for name, stray := range strays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a actor
			a.play((*peer).Echo)
			j := &journal{}
			m := manage(t, managerConfig(j, a.listen(t)))
			_, err := m.Conn(background(t))
			require.NoError(t, err)
			a.play(stray)
			before := a.conns.Load()
			lose(t, m)
			for range 100 { // calls that come meanwhile
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, err = m.Conn(ctx)
				cancel()
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				if a.conns.Load() > before+2 {
					break
				}
			}
			a.play((*peer).Echo)
			_, err = m.Conn(background(t))
			assert.NoError(t, err)
			assert.NotContains(t, j.all(), "refused")
		})
	}
}

func TestAnotherServerIsReportedBeforeTheFirstSuccess(t *testing.T) {
	for name, text := range map[string]string{
		"HTTP": "the HTTP port", "SSH": "SSH", "TLS alert": "TLS", "something else": "1113",
	} {
		var a actor
		a.play(strays[name])
		addr := a.listen(t)
		_, err := manage(t, managerConfig(&journal{}, addr)).Conn(background(t))
		assert.ErrorIs(t, err, ErrNotEventStore, name)
		assert.ErrorContains(t, err, text, name)
		assert.ErrorContains(t, err, addr, name)
	}
}

func TestCredentialsThatStayRefusedFailCallsAfterAMoment(t *testing.T) {
	var a actor
	a.play((*peer).Echo)
	j := &journal{}
	m := manage(t, managerConfig(j, a.listen(t)))
	_, err := m.Conn(background(t))
	require.NoError(t, err)
	a.play(refuses("Unauthorized"))
	start := time.Now()
	lose(t, m)
	_, err = m.Conn(background(t))
	assert.ErrorIs(t, err, ErrNotAuthenticated)
	assert.GreaterOrEqual(t, time.Since(start), refusalGrace/2)
	_, err = m.Conn(background(t))
	assert.ErrorIs(t, err, ErrNotAuthenticated, "the next call fails at once")
	require.Eventually(t, func() bool { return slices.Contains(j.all(), "refused") }, 10*time.Second, time.Millisecond)
	a.play((*peer).Echo)
	require.Eventually(t, func() bool {
		_, err := m.Conn(background(t))
		return err == nil
	}, 10*time.Second, time.Millisecond, "it is tried again")
}

// drops is a server that is starting: it answers heartbeats, and drops so many requests.
func drops(n int) func(p *peer) {
	return func(p *peer) {
		for i := 0; ; i++ {
			f, err := p.Next()
			if err != nil {
				return
			}
			if i >= n {
				p.Reply(f)
			}
		}
	}
}

func TestAuthenticateIsSentAgainOnTheSameConnection(t *testing.T) {
	var a actor
	a.play(drops(2))
	start := time.Now()
	_, err := manage(t, managerConfig(&journal{}, a.listen(t))).Conn(background(t))
	require.NoError(t, err)
	assert.Equal(t, int32(1), a.conns.Load(), "longer pauses would exceed ConnectTimeout")
	assert.Greater(t, time.Since(start), 2*shortLoginPause)
}

// Servers from 20.x refuse operations while they check an Authenticate, with any answer to an earlier one.
func TestNoCallBeginsBeforeTheLastLoginIsAnswered(t *testing.T) {
	var a actor
	a.play(func(p *peer) {
		first, err := p.Next()
		if err != nil {
			return
		}
		second, err := p.Next()
		if err != nil {
			return
		}
		p.Reply(first)
		p.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err = p.Next()
		assert.Error(t, err, "nothing may come yet")
		p.SetReadDeadline(time.Time{})
		p.Frames = esproto.NewFrameReader(p, 4096, 0)
		p.Reply(second)
		p.Echo()
	})
	cfg := managerConfig(&journal{}, a.listen(t))
	cfg.Conn.HeartbeatInterval = 10 * time.Second
	_, err := manage(t, cfg).Conn(background(t))
	assert.NoError(t, err)
	assert.Equal(t, int32(1), a.conns.Load())
}

func TestDelaysGrowOnlyWhileNothingAnswers(t *testing.T) {
	d := newBackoffs(100*time.Millisecond, 5*time.Second)
	refused := &ConnectionError{Err: errors.New("connection refused")}
	ready := &ConnectionError{Err: &NotHandledError{Reason: esproto.NotHandled_NotReady}}
	var last time.Duration
	for range 30 {
		last = d.next(refused)
	}
	assert.Greater(t, last, 2*time.Second)
	for range 30 {
		assert.Less(t, d.next(ready), time.Second)
	}
	assert.Less(t, d.next(refused), time.Second, "it grows anew")
}

func TestAServerThatCannotServeYetIsAskedAgainSoon(t *testing.T) {
	notReady := func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			p.Send(esproto.CmdNotHandled, f.CorrelationID, []byte{8, 0})
		}
	}
	silent := func(p *peer) { io.Copy(io.Discard, p) }
	for name, serve := range map[string]func(p *peer){"not ready": notReady, "drops Authenticate": drops(1000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a actor
			a.play(silent)
			cfg := managerConfig(&journal{}, a.listen(t))
			cfg.ReconnectDelay, cfg.ReconnectMax = 10*time.Millisecond, time.Hour
			cfg.ConnectTimeout = 100 * time.Millisecond
			cfg.Conn.HeartbeatInterval = 20 * time.Millisecond
			cfg.MaxReconnects = 1000
			slow := make(chan struct{})
			var grown, answered atomic.Bool
			cfg.Events.Reconnecting = func(_ int, delay time.Duration, err error) {
				switch {
				case Transient(err):
					if !answered.Swap(true) {
						assert.Less(t, delay, 50*time.Millisecond, "the pauses begin anew")
					}
					assert.Less(t, delay, time.Second)
				case delay > 200*time.Millisecond && !grown.Swap(true):
					close(slow)
				}
			}
			m := manage(t, cfg)
			<-slow // it has grown
			a.play(serve)
			n := a.conns.Load()
			require.Eventually(t, func() bool { return a.conns.Load() >= n+3 }, 10*time.Second, time.Millisecond)
			a.play((*peer).Echo)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for err := ErrNotEventStore; err != nil; {
				_, err = m.Conn(ctx)
				require.NoError(t, ctx.Err())
			}
			assert.True(t, answered.Load())
		})
	}
}

func TestARedirectedConnectionLogsInLast(t *testing.T) {
	var got []esproto.Command
	leader := listen(t, func(p *peer) {
		for len(got) < 2 {
			f, err := p.Next()
			if err != nil {
				return
			}
			got = append(got, f.Command)
			p.Reply(f)
		}
		p.Echo()
	})
	m := manage(t, managerConfig(&journal{}, listen(t, (*peer).Echo)))
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	m.Redirect(c, leader, errNotLeader)
	_, err = m.Conn(background(t))
	require.NoError(t, err)
	assert.Equal(t, []esproto.Command{esproto.CmdIdentifyClient, esproto.CmdAuthenticate}, got)
}

// A follower names a place where something else listens: it gets no credentials, and another node is looked for.
func TestARedirectToAStrangerIsWaitedOut(t *testing.T) {
	var credentials atomic.Bool
	stranger := listen(t, func(p *peer) {
		if f, err := p.Next(); err == nil {
			credentials.Store(f.Flags != 0)
			p.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}
	})
	var conns atomic.Int32
	m := manage(t, managerConfig(&journal{}, listen(t, func(p *peer) {
		conns.Add(1)
		p.Echo()
	})))
	c, err := m.Conn(background(t))
	require.NoError(t, err)
	m.Redirect(c, stranger, errNotLeader)
	_, err = m.Conn(background(t))
	require.NoError(t, err)
	assert.Equal(t, int32(2), conns.Load())
	assert.False(t, credentials.Load())
}

func TestNotLeaderNamesTheLeader(t *testing.T) {
	at := &NotHandledError{Reason: esproto.NotHandled_NotLeader, Leader: &esproto.NotHandled_LeaderInfo{
		ExternalTcpAddress: proto.String("10.1.2.3"), ExternalTcpPort: proto.Int32(1113),
	}}
	assert.ErrorContains(t, at, "10.1.2.3:1113")
	assert.Contains(t, (&NotHandledError{Reason: esproto.NotHandled_NotReady}).Error(), "NotReady")
}
