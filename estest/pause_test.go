package estest_test

import (
	"testing"
	"time"

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
