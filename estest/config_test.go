package estest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const groupConfigStream = "$persistentSubscriptionConfig"

// savedConfig returns the type and the text of the last configuration, but for its time, which must be one.
func savedConfig(t testing.TB, s *estest.Server) (typ, text string) {
	t.Helper()
	events, err := s.Read(groupConfigStream, 0, 0)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(events), 2, "$maxCount")
	e := events[len(events)-1]
	assert.True(t, e.JSON)
	var saved struct{ Updated time.Time }
	require.NoError(t, json.Unmarshal(e.Data, &saved))
	assert.WithinDuration(t, time.Now(), saved.Updated, time.Minute)
	var lines []string
	for line := range strings.Lines(string(e.Data)) {
		if !strings.Contains(line, `"updated"`) {
			lines = append(lines, line)
		}
	}
	return e.Type, strings.Join(lines, "")
}

func TestTheConfigurationOfGroupsIsWrittenAsServersDo(t *testing.T) {
	const head, first, second = `{
  "version": "2",
  "updatedBy": "admin",
  "entries": [
    `, `{
      "stream": "s",
      "group": "b<1>",
      "messageTimeout": 30000,START0
      "liveBufferSize": 500,
      "historyBufferSize": 500,
      "maxRetryCount": 10,
      "readBatchSize": 20,
      "checkPointAfter": 2000,
      "minCheckPointCount": 10,
      "maxCheckPointCount": 1000,
      "namedConsumerStrategy": "RoundRobin"
    }`, `{
      "stream": "s",
      "group": "a",
      "resolveLinkTos": true,
      "extraStatistics": true,
      "startFrom": -1,START1
      "liveBufferSize": 500,
      "historyBufferSize": 500,
      "readBatchSize": 20,
      "checkPointAfter": 2000,
      "minCheckPointCount": 10,
      "maxCheckPointCount": 1000,
      "maxSubscriberCount": 3,
      "namedConsumerStrategy": "Pinned"
    }`
	for _, version := range personas {
		want := func(entries ...string) string {
			text := head + strings.Join(entries, ",\n    ") + "\n  ]\n}"
			zero, end := "", ""
			if version == estest.Persona2310 {
				zero, end = "\n      \"startPosition\": \"0\",", "\n      \"startPosition\": \"-1\","
			}
			return strings.NewReplacer("START0", zero, "START1", end).Replace(text)
		}
		s := estest.Run(t, estest.WithPersona(version))
		p := connect(t, s)
		createGroup(p, "s", "b<1>", nil)
		createGroup(p, "s", "a", func(m *esproto.CreatePersistentSubscription) {
			m.ResolveLinkTos, m.RecordStatistics = proto.Bool(true), proto.Bool(true)
			m.StartFrom, m.MessageTimeoutMilliseconds = proto.Int64(-1), proto.Int32(0)
			m.MaxRetryCount, m.SubscriberMaxCount = proto.Int32(0), proto.Int32(3)
			m.NamedConsumerStrategy = proto.String("Pinned")
		})
		typ, text := savedConfig(t, s)
		assert.Equal(t, want(first, second), text)
		assert.Equal(t, want23(version, "$PersistentConfig", "PersistentConfig1"), typ)

		updateGroup(p, "s", "b<1>")
		_, text = savedConfig(t, s)
		if version == estest.Persona2310 {
			assert.Equal(t, want(first, second), text, "it stays in its place")
		} else {
			assert.Equal(t, want(second, first), text, "it is the last one now")
		}
		require.NoError(t, s.Restart())
		p = connect(t, s)
		updateGroup(p, "s", "b<1>")
		_, again := savedConfig(t, s)
		assert.Equal(t, text, again, "read back at the start")
		deleteGroup(p, "s", "a")
		deleteGroup(p, "s", "b<1>")
		_, text = savedConfig(t, s)
		assert.Contains(t, text, `"entries": []`)
		page := connectAs(t, s, ops).read(nil, groupConfigStream, 0, 1, false)
		assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, page.GetResult(), "administrators only")
	}
}

// want23 returns the value for 23.10, or the value for the versions before it.
func want23(version estest.Persona, since, before string) string {
	if version == estest.Persona2310 {
		return since
	}
	return before
}

// updateGroup gives a group the settings that createGroup gives it.
func updateGroup(p *peer, stream, group string) {
	p.t.Helper()
	var r esproto.UpdatePersistentSubscriptionCompleted
	p.ask(esproto.CmdUpdatePersistentSubscription, admin, usualGroup(stream, group), &r)
	require.Equal(p.t, esproto.UpdatePersistentSubscriptionCompleted_Success, r.GetResult(), r.GetReason())
}

func deleteGroup(p *peer, stream, group string) {
	p.t.Helper()
	var r esproto.DeletePersistentSubscriptionCompleted
	p.ask(esproto.CmdDeletePersistentSubscription, admin,
		&esproto.DeletePersistentSubscription{SubscriptionGroupName: &group, EventStreamId: &stream}, &r)
	require.Equal(p.t, esproto.DeletePersistentSubscriptionCompleted_Success, r.GetResult(), r.GetReason())
}
