package esadmin_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

func TestGroupsAreDescribed(t *testing.T) {
	c, m := manage(t)
	ctx := testContext(t)
	settings := esclient.PersistentSettings{
		ResolveLinks: true, StartFrom: 1, MessageTimeout: 12345 * time.Millisecond, RecordStatistics: true,
		LiveBufferSize: 60, ReadBatchSize: 7, BufferSize: 80, MaxRetryCount: 9,
		CheckpointAfter: 1500 * time.Millisecond, CheckpointMinCount: 3, CheckpointMaxCount: 4, MaxSubscriberCount: 5,
		Strategy: esclient.DispatchToSingle,
	}
	stream, group := group(t, c, settings)
	appendWords(t, c, stream, 0, 9)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 3})
	assert.Equal(t, words(1, 6), consume(t, p, 6))
	nothingMore(t, func(ctx context.Context) (*esclient.Event, error) { // holds three events, and sends the acks
		for {
			if e, err := p.Next(ctx); err != nil {
				return e, err
			}
		}
	})

	var info esadmin.GroupInfo
	eventually(t, func() bool {
		var err error
		info, err = m.Group(ctx, stream, group)
		require.NoError(t, err)
		return info.TotalItemsProcessed == 9
	})
	assert.Equal(t, settings, info.Settings)
	assert.Equal(t, stream, info.Stream)
	assert.Equal(t, group, info.Group)
	assert.Contains(t, info.Status, "Live")
	assert.EqualValues(t, 9, info.LastKnownEvent)
	assert.GreaterOrEqual(t, info.LastCheckpoint, int64(3), "after four events a checkpoint is written at once")
	assert.Contains(t, []int{3, -1}, info.Outstanding, "servers before 5.0 do not tell it")
	assert.Equal(t, 3, info.InFlight)
	require.Len(t, info.Connections, 1)
	sub := info.Connections[0]
	if !trusts(t, c) { // otherwise there is only one user
		assert.Equal(t, undertest.User(), sub.Username)
	}
	assert.Equal(t, 3, sub.InFlight)
	assert.Zero(t, sub.AvailableSlots)
	assert.EqualValues(t, 9, sub.TotalItemsProcessed)
	assert.Contains(t, sub.From, ":")
	assert.Contains(t, sub.Latencies, "Median")

	listed, err := m.Groups(ctx, stream)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	assert.Equal(t, 1, listed[0].Subscribers)
	assert.Equal(t, 3, listed[0].InFlight)
	assert.EqualValues(t, 9, listed[0].TotalItemsProcessed)
	all, err := m.Groups(ctx, "")
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(all, func(g esadmin.GroupSummary) bool {
		return g.Stream == stream && g.Group == group
	}))
}

func TestGroupsThatDoNotExist(t *testing.T) {
	c, m := manage(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	_, err := m.Group(ctx, stream, "other")
	for what, err := range map[string]error{
		"describe": err, "replay": m.ReplayParked(ctx, stream, "other", 0),
		"list": second(m.Groups(ctx, name("none"))), "$all": m.ReplayParked(ctx, esclient.AllStream, group, 0),
	} {
		assert.ErrorIs(t, err, esclient.ErrGroupNotFound, what)
		var failed *esadmin.HTTPError
		require.ErrorAs(t, err, &failed, what)
		assert.Equal(t, http.StatusNotFound, failed.Status, what)
	}
	for what, err := range map[string]error{
		"no stream": second(m.Group(ctx, "", group)), "no group": second(m.Group(ctx, stream, "")),
		"bad name": second(m.Groups(ctx, "a\nb")), "negative": m.ReplayParked(ctx, stream, group, -1),
	} {
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument, what)
	}
}

func second[T any](_ T, err error) error { return err }

func TestNamesAreEscapedInRequests(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			c, m := manage(t, estest.WithPersona(persona))
			ctx, creds := testContext(t), esclient.Credentials{Login: "a?b%41/c#d", Password: "secret"}
			for _, stream := range []string{
				"a b?c=d&e#f%41+ü", "a%41", "a%2541", "a/b", `a\b`, "a#b", "100%", "$ce-a",
			} {
				const group = "g h:i/%41?"
				require.NoError(t, c.CreatePersistent(asAdmin(ctx), stream, group, fromStart()))
				info, err := m.Group(ctx, stream, group)
				require.NoError(t, err)
				assert.Equal(t, stream, info.Stream)
				assert.Equal(t, group, info.Group)
				listed, err := m.Groups(ctx, stream)
				require.NoError(t, err)
				assert.Len(t, listed, 1)
				assert.NoError(t, m.ReplayParked(ctx, stream, group, 0))
			}
			require.NoError(t, m.CreateUser(ctx, esadmin.User{Login: creds.Login}, creds.Password))
			u, err := m.User(ctx, creds.Login)
			require.NoError(t, err)
			assert.Equal(t, creds.Login, u.Login)
			require.NoError(t, m.ChangePassword(ctx, creds.Login, creds.Password, "next"))
			require.NoError(t, m.DisableUser(ctx, creds.Login))
			require.NoError(t, m.DeleteUser(ctx, creds.Login))
		})
	}
}

func TestParkedEventsAreReadAndReplayed(t *testing.T) {
	c, m := manage(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	assert.Empty(t, readParked(t, c, stream, group))
	appendWords(t, c, stream, 0, 4)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	park(t, c, p, stream, group, 5)
	for i, e := range readParked(t, c, stream, group) {
		assert.Equal(t, fmt.Sprint(i), string(e.Event.Data))
		assert.EqualValues(t, i, e.Number)
		assert.True(t, strings.HasSuffix(e.Reason, fmt.Sprintf("no %d", i)), e.Reason)
		assert.WithinDuration(t, time.Now(), e.Added, 24*time.Hour, "by the server's clock, in its own time zone")
		assert.NotNil(t, e.Event.Link)
	}
	require.NoError(t, m.ReplayParked(ctx, stream, group, 0))
	assert.Equal(t, words(0, 4), consume(t, p, 5))
	eventually(t, func() bool { return len(readParked(t, c, stream, group)) == 0 })
	require.NoError(t, m.ReplayParked(ctx, stream, group, 0), "there is nothing left to replay")
	nothingMore(t, p.Next)
}

func TestReplayUpToALimit(t *testing.T) {
	c, m := manage(t, estest.WithPersona(estest.Persona2310))
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	require.NoError(t, m.ReplayParked(ctx, stream, group, 3), "there is nothing to replay")
	appendWords(t, c, stream, 0, 9)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	park(t, c, p, stream, group, 10)
	info, err := m.Group(ctx, stream, group)
	require.NoError(t, err)
	assert.EqualValues(t, 10, info.Parked)
	for from := 0; from < 9; from += 3 {
		require.NoError(t, m.ReplayParked(ctx, stream, group, 3))
		assert.Equal(t, words(from, from+2), consume(t, p, 3))
		nothingMore(t, p.Next)
	}
	require.NoError(t, m.ReplayParked(ctx, stream, group, 3))
	assert.Equal(t, words(9, 9), consume(t, p, 1), "the last one")
	require.NoError(t, m.ReplayParked(ctx, stream, group, 3))
	nothingMore(t, p.Next)
	assert.ErrorIs(t, m.ReplayParked(ctx, stream, "other", 3), esclient.ErrGroupNotFound)
	ops := asOps(ctx)
	assert.NoError(t, m.ReplayParked(ops, stream, group, 0))
	assert.ErrorIs(t, m.ReplayParked(ops, stream, group, 1), esclient.ErrAccessDenied,
		"only administrators read the parked stream")
}

func TestGroupValuesOfEachVersion(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			c, m := manage(t, estest.WithPersona(persona))
			ctx := testContext(t)
			stream, group := group(t, c, fromStart())
			info, err := m.Group(ctx, stream, group)
			require.NoError(t, err)
			assert.EqualValues(t, -1, info.LastCheckpoint, "none yet")
			assert.EqualValues(t, -1, info.LastKnownEvent, "none yet")
			err = m.ReplayParked(ctx, stream, group, 1)
			subscribe(t, c, stream, group, esclient.PersistentOptions{})
			after, errAfter := m.Group(ctx, stream, group)
			require.NoError(t, errAfter)
			require.Len(t, after.Connections, 1)
			if persona == estest.Persona2310 {
				assert.Zero(t, info.Parked)
				assert.NoError(t, err)
				assert.Equal(t, "watermill-eventstore", after.Connections[0].ConnectionName)
			} else {
				assert.EqualValues(t, -1, info.Parked)
				assert.ErrorIs(t, err, esclient.ErrNotSupported)
				assert.Empty(t, after.Connections[0].ConnectionName)
			}
			nobody := esclient.WithCredentials(ctx, esclient.Credentials{Login: "nobody", Password: "x"})
			_, err = m.Groups(nobody, "")
			assert.ErrorIs(t, err, esclient.ErrAccessDenied)
		})
	}
}
