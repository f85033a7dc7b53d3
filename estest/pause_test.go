package estest_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// What a server has put off becomes due while it hangs, and is done when it hangs no more.
func TestAPausedServerServesNothingThatItHasPutOff(t *testing.T) {
	for name, delay := range map[string]func(s *estest.Server){
		"rights": func(*estest.Server) {},
		"delay": func(s *estest.Server) {
			s.Intercept(esproto.CmdWriteEvents, estest.Delay(time.Second), estest.Times(1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, clock := slowRights(t, estest.Persona5011)
			as := plain
			if name == "delay" {
				as = admin
			}
			delay(s)
			p := connectAs(t, s, as)
			id := p.send(esproto.CmdWriteEvents, nil, write("s"))
			pings(t, p)
			s.Pause()
			clock.Advance(time.Second)
			assert.Zero(t, written(t, s, "s"), "it hangs")
			s.Resume()
			assert.Equal(t, esproto.CmdWriteEventsCompleted, p.answer(id).cmd)
			assert.Equal(t, 1, written(t, s, "s"))
		})
	}
}

// The next process does not know the work that the last one had put off.
func TestACrashEndsWhatAPausedServerHasPutOff(t *testing.T) {
	s, clock := slowRights(t, estest.Persona5011)
	p := connectAs(t, s, plain)
	p.send(esproto.CmdWriteEvents, nil, write("s"))
	pings(t, p)
	s.Pause()
	clock.Advance(time.Second)
	require.NoError(t, s.Crash())
	connect(t, s).mustAppend(admin, "other", newEvent("T", ""))
	assert.Zero(t, written(t, s, "s"))
}

// When Pause has returned, nothing is written any more: not by projections, nor by requests that had arrived.
func TestNothingIsWrittenBehindPause(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	p := connectAs(t, s, admin)
	for range 50 {
		var ids []esproto.CorrelationID
		for range 10 {
			ids = append(ids, p.send(esproto.CmdWriteEvents, nil, write("order-1")))
		}
		s.Pause()
		before := s.Snapshot().End
		time.Sleep(time.Millisecond)
		assert.Equal(t, before, s.Snapshot().End)
		s.Resume()
		for _, id := range ids {
			p.answer(id)
		}
	}
}

// A process that hangs and is killed confirms nothing, so a snapshot taken before has all that it has confirmed.
func TestAServerThatIsKilledInAHangServesNothing(t *testing.T) {
	for name, kill := range map[string]func(*estest.Server) error{
		"Close": (*estest.Server).Close, "Crash": (*estest.Server).Crash,
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				s := estest.Run(t)
				p := connectAs(t, s, admin)
				web, err := net.Dial("tcp", s.HTTPAddr())
				require.NoError(t, err)
				pings(t, p)
				s.Pause()
				p.send(esproto.CmdWriteEvents, nil, write("tcp"))
				_, err = fmt.Fprint(web, "POST /streams/http HTTP/1.1\r\nHost: eventstore\r\n",
					"Authorization: Basic ", base64.StdEncoding.EncodeToString([]byte("admin:changeit")), "\r\n",
					"ES-EventType: T\r\nES-EventId: ", uuid.NewString(), "\r\n",
					"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
				require.NoError(t, err)
				require.NoError(t, kill(s))
				answer, err := io.ReadAll(web)
				assert.Empty(t, string(answer), "%v", err)
				require.NoError(t, web.Close())
				assert.Zero(t, written(t, s, "tcp"))
				assert.Zero(t, written(t, s, "http"))
			}
		})
	}
}
