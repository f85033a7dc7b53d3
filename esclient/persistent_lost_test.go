package esclient_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// deafLink is a network that loses connections of which the servers do not hear: for the client they are over.
type deafLink struct {
	down atomic.Bool // there are no new connections
	// withheld are frames of servers that clients do not get.
	withheld atomic.Pointer[[]esproto.Command]

	mu   sync.Mutex
	live []net.Conn // as the client has them
}

func newDeafLink(t testing.TB) (l *deafLink, dial func(context.Context, string, string) (net.Conn, error)) {
	l = new(deafLink)
	var relays sync.WaitGroup
	stop := make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		relays.Wait()
	})
	return l, func(ctx context.Context, network, address string) (net.Conn, error) {
		if l.down.Load() {
			return nil, errors.New("unreachable")
		}
		var d net.Dialer
		far, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		near, relay := net.Pipe()
		l.mu.Lock()
		l.live = append(l.live, near)
		l.mu.Unlock()
		relays.Go(func() { l.copyFrames(relay, far) })
		relays.Go(func() { copyUntilClosed(far, relay) })
		relays.Go(func() {
			<-stop
			far.Close()
			relay.Close()
		})
		return near, nil
	}
}

// copyUntilClosed leaves the other connection open when one has ended.
func copyUntilClosed(to, from net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		to.Write(buf[:n]) // the other end may be gone
	}
}

// copyFrames is copyUntilClosed for the frames of a server.
func (l *deafLink) copyFrames(to, from net.Conn) {
	r := bufio.NewReader(from)
	for {
		head, err := r.Peek(5)
		if err != nil {
			return
		}
		frame := make([]byte, 4+binary.LittleEndian.Uint32(head))
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		if w := l.withheld.Load(); w == nil || !slices.Contains(*w, esproto.Command(frame[4])) {
			to.Write(frame) // the other end may be gone
		}
	}
}

// lose loses all connections. There are no new ones until f has returned; on these the client gets nothing of the
// commands withheld.
func (l *deafLink) lose(f func(), withheld ...esproto.Command) {
	l.down.Store(true)
	l.mu.Lock()
	for _, nc := range l.live {
		nc.Close()
	}
	l.live = nil
	l.mu.Unlock()
	f()
	l.withheld.Store(&withheld)
	l.down.Store(false)
}

func TestTheOrderOutlivesAnUnnoticedLoss(t *testing.T) {
	t.Parallel()
	for _, persona := range allPersonas {
		for _, most := range []int{0, 1} { // subscribers
			t.Run(fmt.Sprintf("%v, at most %d", persona, most), func(t *testing.T) {
				t.Parallel()
				srv, admin := embedded(t, estest.WithPersona(persona), estest.WithHeartbeat(time.Hour, time.Hour))
				settings := fromStart()
				settings.MaxSubscriberCount = most
				stream, group := group(t, admin, settings)
				appendNumbered(t, admin, stream, 0, 99)
				link, dial := newDeafLink(t)
				c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.Dial = dial })
				p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 10})
				assert.Equal(t, words(0, 19), consume(t, p, 20))
				held, err := p.Next(testContext(t))
				require.NoError(t, err)
				for n := range 3 {
					link.lose(func() {})
					from := 21 + 20*n
					assert.Equal(t, words(from, from+19), consume(t, p, 20))
				}
				require.NoError(t, p.Ack(held))
				assert.Equal(t, 1, srv.Stats().Groups[0].Clients)
			})
		}
	}
}

func TestLostSessionsAreEndedBeforeTheNext(t *testing.T) {
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.OperationTimeout = 100 * time.Millisecond })
	j := waysToJoin(t)["persistent"]
	next := make(chan func(context.Context) (*esclient.Event, error), 1)
	go func() {
		n, err := j.subscribe(testContext(t), c)
		assert.NoError(t, err)
		next <- n
	}()
	first := s.next(esproto.CmdConnectToPersistentSubscription)
	second := s.next(esproto.CmdConnectToPersistentSubscription)
	second.reply(j.confirmation, j.payload)
	assert.Equal(t, first.id, s.next(esproto.CmdUnsubscribeFromStream).id, "it may still be confirmed")
	second.cut()
	third := s.next(esproto.CmdConnectToPersistentSubscription)
	third.cut() // it is unknown whether the server has ended the others
	fourth := s.next(esproto.CmdConnectToPersistentSubscription)
	fourth.reply(j.confirmation, j.payload)
	fourth.reply(j.push, j.event(""))
	_, err := (<-next)(testContext(t))
	require.NoError(t, err)
	fourth.cut()
	s.next(esproto.CmdConnectToPersistentSubscription)
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Equal(t, []string{
		"joins", "joins",
		first.id.String(), second.id.String(), "joins",
		first.id.String(), second.id.String(), third.id.String(), "joins",
		fourth.id.String(), "joins",
	}, s.lost, "what the server has seen to is not repeated")
}
