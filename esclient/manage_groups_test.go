package esclient_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
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
	appendNumbered(t, c, stream, 0, 9)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 3})
	assert.Equal(t, words(1, 6), consume(t, p, 6))
	nothingMore(t, func(ctx context.Context) (*esclient.Event, error) { // holds three events, and sends the acks
		for {
			if e, err := p.Next(ctx); err != nil {
				return e, err
			}
		}
	})

	var info esclient.GroupInfo
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
	assert.Contains(t, []int{3, -1}, info.Outstanding, "before 5.0 it is not told")
	assert.Equal(t, 3, info.InFlight)
	require.Len(t, info.Connections, 1)
	sub := info.Connections[0]
	if !trusts(t, c) { // else everybody is the same
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
	assert.True(t, slices.ContainsFunc(all, func(g esclient.GroupSummary) bool {
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
		var failed *esclient.HTTPError
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
	for _, persona := range allPersonas {
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
			require.NoError(t, m.CreateUser(ctx, esclient.User{Login: creds.Login}, creds.Password))
			u, err := m.User(ctx, creds.Login)
			require.NoError(t, err)
			assert.Equal(t, creds.Login, u.Login)
			require.NoError(t, m.ChangePassword(ctx, creds.Login, creds.Password, "next"))
			require.NoError(t, m.DisableUser(ctx, creds.Login))
			require.NoError(t, m.DeleteUser(ctx, creds.Login))
		})
	}
}

// park has a group park all events of its stream.
func park(t testing.TB, c *esclient.Client, p *esclient.PersistentSubscription, stream, group string, n int) {
	t.Helper()
	before := len(readParked(t, c, stream, group))
	for range n {
		e, err := p.Next(testContext(t))
		require.NoError(t, err)
		require.NoError(t, p.Nack(esclient.NackPark, "no "+string(e.Data), e))
	}
	eventually(t, func() bool { return len(readParked(t, c, stream, group)) == before+n })
}

func readParked(t testing.TB, c *esclient.Client, stream, group string) (parked []esclient.ParkedEvent) {
	t.Helper()
	for e, err := range c.ReadParked(asAdmin(testContext(t)), stream, group) {
		require.NoError(t, err)
		parked = append(parked, e)
	}
	return parked
}

func TestParkedEventsAreReadAndReplayed(t *testing.T) {
	c, m := manage(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	assert.Empty(t, readParked(t, c, stream, group))
	appendNumbered(t, c, stream, 0, 4)
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

func TestParkedEventsWhoseTargetIsGone(t *testing.T) {
	c := connect(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 0)
	_, err := c.Append(asAdmin(ctx), "$persistentsubscription-"+stream+"::"+group+"-parked", esclient.Any,
		esclient.EventData{
			Type: "$>", Data: []byte("99@" + stream), Metadata: []byte(`{"reason":"x","subscriptionEventNumber":99}`),
		},
		esclient.EventData{Type: "other", Metadata: []byte("not the server's")})
	require.NoError(t, err)
	parked := readParked(t, c, stream, group)
	require.Len(t, parked, 2)
	assert.True(t, parked[0].Event.Unresolved)
	assert.Equal(t, "x", parked[0].Reason)
	assert.EqualValues(t, 99, parked[0].Number)
	assert.Zero(t, parked[0].Added)
	assert.EqualValues(t, -1, parked[1].Number)
}

func TestReadParkedRefusesAndStops(t *testing.T) {
	c, ctx := connect(t), asAdmin(testContext(t))
	needsRefusals(t, c)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 2)
	park(t, c, subscribe(t, c, stream, group, esclient.PersistentOptions{}), stream, group, 3)
	ops := asOps(ctx)
	for what, tc := range map[string]struct {
		events iter.Seq2[esclient.ParkedEvent, error]
		is     error
	}{
		"no group": {c.ReadParked(ctx, stream, ""), esclient.ErrInvalidArgument},
		"denied":   {c.ReadParked(ops, stream, group), esclient.ErrAccessDenied},
	} {
		n := 0
		for e, err := range tc.events {
			n++
			assert.ErrorIs(t, err, tc.is, what)
			assert.Zero(t, e, what)
		}
		assert.Equal(t, 1, n, "%s: one error ends the loop", what)
	}
	for e, err := range c.ReadParked(ctx, stream, group) {
		require.NoError(t, err)
		assert.Equal(t, "0", string(e.Event.Data))
		break
	}
}

func TestReplayUpToALimit(t *testing.T) {
	c, m := manage(t, estest.WithPersona(estest.Persona2310))
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	require.NoError(t, m.ReplayParked(ctx, stream, group, 3), "there is nothing to replay")
	appendNumbered(t, c, stream, 0, 9)
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

func TestWhatServersOfEachVersionTell(t *testing.T) {
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
