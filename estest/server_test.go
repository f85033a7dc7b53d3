package estest_test

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// ends waits until the server has closed a connection.
func ends(t testing.TB, p *peer) {
	t.Helper()
	require.NoError(t, p.nc.SetReadDeadline(time.Now().Add(patience)))
	_, err := p.nc.Read(make([]byte, 1))
	require.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is still there")
}

func pings(t testing.TB, p *peer) {
	t.Helper()
	id := p.send(esproto.CmdPing, nil, nil)
	assert.Equal(t, esproto.CmdPong, p.answer(id).cmd)
}

func TestDropConnectionsCutsThemAllAndTakesNewOnes(t *testing.T) {
	s := estest.Run(t)
	first, second := connect(t, s), connect(t, s)
	s.DropConnections()
	ends(t, first)
	ends(t, second)
	pings(t, connect(t, s))
}

func TestRestartKeepsThePortsAndTheEvents(t *testing.T) {
	s := estest.Run(t)
	tcp, http := s.Addr(), s.HTTPAddr()
	p := connect(t, s)
	p.mustAppend(nil, "stream", newEvent("T", "a"), newEvent("T", "b"))
	require.NoError(t, s.Restart())
	ends(t, p)
	assert.Equal(t, tcp, s.Addr())
	assert.Equal(t, http, s.HTTPAddr())

	p = connect(t, s)
	assert.Equal(t, esproto.OperationResult_WrongExpectedVersion,
		p.append(nil, "stream", 0, newEvent("T", "c")).GetResult())
	assert.Equal(t, int64(2), p.append(nil, "stream", 1, newEvent("T", "c")).GetLastEventNumber())
}

func TestAPausedServerHangsUntilItIsResumed(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	s.Pause()
	id := p.send(esproto.CmdPing, nil, nil)
	require.NoError(t, p.nc.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := p.nc.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	s.Resume()
	assert.Equal(t, esproto.CmdPong, p.answer(id).cmd)
	s.Pause()
	require.NoError(t, s.Close(), "a paused server can be closed")
}

func TestAClosedServerStaysClosed(t *testing.T) {
	s, err := estest.Start()
	require.NoError(t, err)
	p := connect(t, s)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	ends(t, p)
	require.ErrorContains(t, s.Restart(), "closed")
	_, err = net.Dial("tcp", s.Addr())
	assert.Error(t, err)
}

// afterHeartbeat reads the server's question without answering it.
func afterHeartbeat(t testing.TB, p *peer) net.Conn {
	t.Helper()
	require.NoError(t, p.nc.SetReadDeadline(time.Now().Add(patience)))
	h, _, err := p.fr.Next()
	require.NoError(t, err)
	assert.Equal(t, esproto.CmdHeartbeatRequest, h.Command)
	return p.nc
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []estest.Option{
		estest.WithHeartbeat(0, time.Second), estest.WithHeartbeat(time.Second, -1),
		estest.WithPersona("3.9"), estest.WithTCPAddr("no address"), estest.WithHTTPAddr("no address"),
		estest.WithUser("", "secret"),
	} {
		_, err := estest.Start(o)
		assert.ErrorContains(t, err, "estest: ")
	}
}

func TestUsersFromTheStart(t *testing.T) {
	s := estest.Run(t, estest.WithUser("ann", "secret", "$admins"), estest.WithUser("ops", "changed"),
		estest.WithUser("admin", "p@ss:word"))
	assert.Equal(t, "tcp://admin:p%40ss%3Aword@"+s.Addr(), s.ConnectionString())
	connectAs(t, s, &esproto.Credentials{Login: "admin", Password: "p@ss:word"})
	p := connectAs(t, s, &esproto.Credentials{Login: "ann", Password: "secret"})
	assert.Equal(t, esproto.ReadStreamEventsCompleted_Success, p.read(nil, "$users", 0, 10, false).GetResult(),
		"she is an administrator")
	var r esproto.ScavengeDatabaseResponse
	p.ask(esproto.CmdScavengeDatabase, &esproto.Credentials{Login: "ops", Password: "changed"},
		&esproto.ScavengeDatabase{}, &r)
	assert.Equal(t, esproto.ScavengeDatabaseResponse_Started, r.GetResult(), "ops has the groups that it had")
	assert.Equal(t, esproto.CmdNotAuthenticated, p.answer(p.send(esproto.CmdPing, admin, nil)).cmd,
		"the password is another")
}
