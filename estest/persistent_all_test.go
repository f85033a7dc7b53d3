package estest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// allGroupInfo is the description of a group on $all over HTTP.
type allGroupInfo struct {
	EventStreamID, GroupName, Status string
	LastKnownEventNumber             int64
	LastKnownEventPosition           *string
	LastCheckpointedEventPosition    *string
	ReadBufferCount                  int
	LiveBufferCount                  int
	Config                           struct {
		StartFrom     int64
		StartPosition string
	}
}

// A group on $all has positions in place of numbers, also in the server's own configuration.
func TestAGroupOnAllHasPositions(t *testing.T) {
	s := run2310(t, estest.WithClock(estest.NewClock(someTime)))
	require.NoError(t, s.CreateGroupOnAll("audit"))
	require.ErrorContains(t, s.CreateGroupOnAll(""), "empty")
	var info allGroupInfo
	look := func() *allGroupInfo {
		info = allGroupInfo{}
		getJSON(t, s.HTTPURL()+"/subscriptions/$all/audit/info", &info)
		return &info
	}
	look()
	assert.Equal(t, "$all", info.EventStreamID)
	assert.Equal(t, "C:0/P:0", info.Config.StartPosition)
	assert.Zero(t, info.Config.StartFrom)
	assert.Nil(t, info.LastCheckpointedEventPosition)
	assert.Equal(t, "Live", info.Status)
	atFirst := info.ReadBufferCount
	assert.Equal(t, len(s.Snapshot().Events)-1, atFirst, "all but the epoch")
	assert.Equal(t, 2, info.LiveBufferCount, "the first event in the buffer is its own configuration")

	appendTo(t, s, "s", "e")
	look()
	last := s.Snapshot().LastCommit
	assert.Equal(t, positionText(last), *info.LastKnownEventPosition)
	assert.Zero(t, info.LastKnownEventNumber)
	assert.Equal(t, atFirst+1, info.ReadBufferCount)

	config := streamOf(t, s, "$persistentSubscriptionConfig")
	assert.Contains(t, string(config[0].Data), `"startPosition": "C:0/P:0"`)
	require.NoError(t, s.Restart())
	assert.Equal(t, atFirst+1, look().ReadBufferCount, "the group is there, and has read all")
	assert.Zero(t, info.LiveBufferCount)

	for range 500 {
		appendTo(t, s, "s", "e")
	}
	assert.Equal(t, "Behind", look().Status)
	assert.Equal(t, 500, info.ReadBufferCount)
}

func TestClientsOverTCPCannotManageGroupsOnAll(t *testing.T) {
	s := run2310(t)
	require.NoError(t, s.CreateGroupOnAll("audit"))
	p := connectAs(t, s, admin)
	name, group := proto.String("$all"), proto.String("audit")
	for cmd, m := range map[esproto.Command]proto.Message{
		esproto.CmdCreatePersistentSubscription: usualGroup("$all", "audit"),
		esproto.CmdUpdatePersistentSubscription: usualGroup("$all", "audit"),
		esproto.CmdDeletePersistentSubscription: &esproto.DeletePersistentSubscription{
			EventStreamId: name, SubscriptionGroupName: group,
		},
	} {
		var r esproto.CreatePersistentSubscriptionCompleted
		p.ask(cmd, nil, m, &r)
		assert.Equal(t, esproto.CreatePersistentSubscriptionCompleted_Fail, r.GetResult(), cmd)
	}
	require.Error(t, s.CreateGroupOnAll("audit"), "it is still there")
}

func positionText(at int64) string { return fmt.Sprintf("C:%d/P:%d", at, at) }
