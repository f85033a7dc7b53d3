package estest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// someTime has all digits that a record of the log can have.
var someTime = time.Date(2024, 5, 21, 10, 21, 33, 123456700, time.UTC)

func readAllFrom(p *peer, at [2]int64, count int32) *esproto.ReadAllEventsCompleted {
	p.t.Helper()
	var r esproto.ReadAllEventsCompleted
	p.ask(esproto.CmdReadAllEventsForward, nil,
		&esproto.ReadAllEvents{CommitPosition: &at[0], PreparePosition: &at[1], MaxCount: &count}, &r)
	return &r
}

// The records of a new server of each version, with their order and positions. 23.10 is as recorded.
func TestANewDatabase(t *testing.T) {
	type record struct {
		stream string
		at     int64
	}
	for version, want := range map[estest.Persona][]record{
		estest.Persona414: {
			{"$$$user-admin", 169}, {"$$$user-ops", 337}, {"$user-admin", 503}, {"$user-ops", 798}, {"$users", 1083},
			{"$users", 1189}, {"$$$scavenges", 1293}, {"$scavenges", 1423},
		},
		estest.Persona5011: {
			{"$$$user-admin", 169}, {"$$$scavenges", 337}, {"$$$user-ops", 522}, {"$user-admin", 688},
			{"$user-ops", 983}, {"$users", 1268}, {"$users", 1374},
		},
		estest.Persona2310: {
			{"$$$user-admin", 548}, {"$$$scavenges", 716}, {"$$$user-ops", 901}, {"$user-admin", 1067},
			{"$user-ops", 1362}, {"$users", 1647}, {"$users", 1753},
		},
	} {
		t.Run(string(version), func(t *testing.T) {
			s := estest.Run(t, estest.WithPersona(version), estest.WithClock(estest.NewClock(someTime)))
			p := connectAs(t, s, admin)
			page := readAllFrom(p, [2]int64{0, 0}, 100)
			require.Equal(t, esproto.ReadAllEventsCompleted_Success, page.GetResult())
			var have []record
			for _, e := range page.GetEvents() {
				have = append(have, record{e.GetEvent().GetEventStreamId(), e.GetCommitPosition()})
			}
			assert.Equal(t, want, have)
			assert.Contains(t, string(streamOf(t, s, "$user-ops")[0].Data), "{\n  \"loginName\": \"ops\",\n")

			scavenges := `{"$maxAge":2592000,"$acl":{"$r":"$ops","$w":[],"$d":[],"$mr":[],"$mw":[]}}`
			if version == estest.Persona414 {
				scavenges = `{"$maxAge":2592000}`
			}
			assert.Equal(t, []string{scavenges}, texts(streamOf(t, s, "$$$scavenges")))
		})
	}
}

func streamOf(t testing.TB, s *estest.Server, stream string) []estest.Event {
	t.Helper()
	events, err := s.Read(stream, 0, 0)
	require.NoError(t, err)
	return events
}

// $epoch-information is there to be read, but not in $all. A filtered read looks at it all the same.
func TestEpochInformationIsHiddenInAll(t *testing.T) {
	s := run2310(t, estest.WithClock(estest.NewClock(someTime)))
	p := connectAs(t, s, admin)
	r := readFiltered(p, esproto.CmdFilteredReadAllEventsForward, [2]int64{0, 0}, 1, 1, nil)
	assert.Empty(t, r.GetEvents(), "the window holds it")
	assert.False(t, r.GetIsEndOfStream())
	assert.Equal(t, int64(548), r.GetNextCommitPosition())
	r = readFiltered(p, esproto.CmdFilteredReadAllEventsForward, [2]int64{0, 0}, 1, 2, nil)
	assert.Len(t, r.GetEvents(), 1)

	events := streamOf(t, s, "$epoch-information")
	require.Len(t, events, 1)
	assert.Equal(t, "$epoch-information", events[0].Type)
	assert.Equal(t, int64(231), events[0].Commit)
	var epoch struct {
		EpochID, LeaderInstanceID string
		PrevEpochPosition         int64
	}
	require.NoError(t, json.Unmarshal(events[0].Data, &epoch))
	assert.Equal(t, int64(-1), epoch.PrevEpochPosition)
	assert.NotEmpty(t, epoch.EpochID)
	assert.NotEmpty(t, epoch.LeaderInstanceID)
}

// Each process begins an epoch of its own. Readers do not see it, but 4.1 writes the metadata of $scavenges again.
func TestARestartWritesAnEpoch(t *testing.T) {
	for _, version := range personas {
		for how, again := range map[string]func(*testing.T, *estest.Server) *estest.Server{
			"restart":  itself((*estest.Server).Restart),
			"crash":    itself((*estest.Server).Crash),
			"snapshot": snapshotted(version),
		} {
			t.Run(string(version)+"/"+how, func(t *testing.T) {
				s := estest.Run(t, estest.WithPersona(version))
				appendTo(t, s, "s", "e")
				before := s.Snapshot()
				seen := len(readAllFrom(connectAs(t, s, admin), [2]int64{0, 0}, 100).GetEvents())

				s = again(t, s)
				after := s.Snapshot()
				assert.Equal(t, before.Epochs+1, after.Epochs)
				assert.Equal(t, before.End, after.EpochAt)
				assert.Greater(t, after.End, before.End)
				p := connectAs(t, s, admin)
				page := readAllFrom(p, [2]int64{0, 0}, 100)
				if version == estest.Persona414 {
					seen++
					assert.Len(t, streamOf(t, s, "$$$scavenges"), 1)
					assert.Equal(t, int64(1), streamOf(t, s, "$$$scavenges")[0].Number)
					assert.Len(t, streamOf(t, s, "$scavenges"), 1)
				}
				assert.Len(t, page.GetEvents(), seen)
				result := readAllFrom(p, [2]int64{before.End, before.End}, 1).GetResult()
				assert.Equal(t, esproto.ReadAllEventsCompleted_Success, result, "a record begins there")
				if version == estest.Persona2310 {
					assert.Len(t, streamOf(t, s, "$epoch-information"), 2)
				}
			})
		}
	}
}

func itself(again func(*estest.Server) error) func(*testing.T, *estest.Server) *estest.Server {
	return func(t *testing.T, s *estest.Server) *estest.Server {
		require.NoError(t, again(s))
		return s
	}
}

func snapshotted(version estest.Persona) func(*testing.T, *estest.Server) *estest.Server {
	return func(t *testing.T, s *estest.Server) *estest.Server {
		b, err := json.Marshal(s.Snapshot())
		require.NoError(t, err)
		var snap estest.Snapshot
		require.NoError(t, json.Unmarshal(b, &snap))
		return estest.Run(t, estest.WithPersona(version), estest.WithSnapshot(&snap))
	}
}

// A server creates a built-in user again if it was deleted.
func TestAStartBringsTheBuiltInUsersBack(t *testing.T) {
	for _, version := range personas {
		s := estest.Run(t, estest.WithPersona(version))
		request(t, "DELETE", s.HTTPURL()+"/users/ops", admin, "")
		p := connect(t, s)
		assert.Equal(t, esproto.CmdNotAuthenticated, p.answer(p.send(esproto.CmdAuthenticate, ops, nil)).cmd)
		require.NoError(t, s.Restart())
		p = connect(t, s)
		assert.Equal(t, esproto.CmdAuthenticated, p.answer(p.send(esproto.CmdAuthenticate, ops, nil)).cmd)
	}
}

// Every election writes an epoch, which all nodes have at the place that gossip tells.
func TestEveryElectionWritesAnEpoch(t *testing.T) {
	for _, version := range personas {
		c := estest.RunCluster(t, 3, estest.WithPersona(version), estest.WithElectionDelay(never))
		for leader := range 3 {
			require.NoError(t, c.Elect(leader))
			member := c.Members(leader)[leader]
			assert.Equal(t, leader, member.EpochNumber)
			if leader == 0 {
				assert.Zero(t, member.EpochPosition)
			}
			for n := range 3 {
				snap := c.Node(n).Snapshot()
				assert.Equal(t, leader+1, snap.Epochs)
				assert.Equal(t, c.Node(leader).Snapshot(), snap)
				at := member.EpochPosition
				page := readAllFrom(connectAs(t, c.Node(n), admin), [2]int64{at, at}, 1)
				assert.Equal(t, esproto.ReadAllEventsCompleted_Success, page.GetResult(), page.GetError())
			}
			if version == estest.Persona2310 {
				assert.Len(t, streamOf(t, c.Node(leader), "$epoch-information"), leader+1)
			}
		}
	}
}

// All nodes know the positions of a transaction's records, and so does a server that starts from a snapshot.
func TestPositionsInATransactionAreKnownEverywhere(t *testing.T) {
	for _, version := range personas {
		c := estest.RunCluster(t, 3, estest.WithPersona(version))
		p := connectAs(t, c.Node(0), admin)
		var start esproto.TransactionStartCompleted
		p.ask(esproto.CmdTransactionStart, nil,
			&esproto.TransactionStart{EventStreamId: proto.String("s"), ExpectedVersion: proto.Int64(-1)}, &start)
		id := start.GetTransactionId()
		require.Positive(t, id)
		known := func(s *estest.Server, positions ...int64) {
			t.Helper()
			p := connectAs(t, s, admin)
			for _, at := range positions {
				page := readAllFrom(p, [2]int64{at, at}, 10)
				assert.Equal(t, esproto.ReadAllEventsCompleted_Success, page.GetResult(), page.GetError())
			}
		}
		var written esproto.TransactionWriteCompleted
		p.ask(esproto.CmdTransactionWrite, nil,
			&esproto.TransactionWrite{TransactionId: &id, Events: []*esproto.NewEvent{newEvent("e", "x")}}, &written)
		var committed esproto.TransactionCommitCompleted
		p.ask(esproto.CmdTransactionCommit, nil, &esproto.TransactionCommit{TransactionId: &id}, &committed)
		require.Equal(t, esproto.OperationResult_Success, committed.GetResult())
		prepare := streamOf(t, c.Node(0), "s")[0].Prepare
		appendTo(t, c.Node(0), "s", "behind")

		for n := range 3 {
			known(c.Node(n), id, prepare, committed.GetCommitPosition())
		}
		known(snapshotted(version)(t, c.Node(1)), id, prepare, committed.GetCommitPosition())

		refused := readAllFrom(connectAs(t, c.Node(2), admin), [2]int64{prepare + 1, prepare + 1}, 10)
		assert.Equal(t, esproto.ReadAllEventsCompleted_Error, refused.GetResult(), "nothing begins there")
	}
}
