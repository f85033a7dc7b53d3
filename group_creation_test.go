package eventstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// A Subscriber that creates many groups logs its progress at intervals and at the end. With few groups it does not.
func TestCreationOfManyGroupsIsLogged(t *testing.T) {
	var c groupCreation
	now := time.Unix(1000, 0)
	for range 1000 {
		c.begin(now)
	}
	type line struct{ created, waiting int }
	var lines []line
	for range 1000 { // 17 ms each
		now = now.Add(17 * time.Millisecond)
		if created, waiting, log := c.end(now, nil); log {
			lines = append(lines, line{created, waiting})
		}
	}
	assert.Equal(t, []line{{295, 705}, {590, 410}, {885, 115}, {1000, 0}}, lines)

	c.begin(now)
	_, _, log := c.end(now.Add(time.Minute), nil)
	assert.False(t, log, "a single group")
}

// No call times out while the server creates groups for others. Calls to a server that creates none time out.
func TestStallTimeoutRestartsWithEachGroup(t *testing.T) {
	var c groupCreation
	begun := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	for range 5 {
		c.begin(begun)
	}
	assert.Equal(t, initializeTimeout, c.remaining(begun, begun))
	assert.Equal(t, 10*time.Second, c.remaining(at(20), begun))
	c.end(at(20), nil)
	assert.Equal(t, 30*time.Second, c.remaining(at(20), begun))
	c.end(at(40), esclient.ErrGroupExists)
	assert.Equal(t, 29*time.Second, c.remaining(at(41), begun), "another client created it")
	c.end(at(50), errors.New("refused"))
	assert.Equal(t, 20*time.Second, c.remaining(at(50), begun), "no group was created")
	assert.Equal(t, 30*time.Second, c.remaining(at(100), at(100)), "a call that begins later has its own time")
	assert.LessOrEqual(t, c.remaining(at(70), begun), time.Duration(0))
}

func TestACallTimesOutWhereNoGroupIsCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c groupCreation
		ctx, cancel := c.withStallTimeout(t.Context())
		defer cancel()
		time.Sleep(29 * time.Second)
		c.begin(time.Now())
		c.end(time.Now(), nil)
		time.Sleep(29 * time.Second)
		require.NoError(t, ctx.Err(), "a group was created in between")
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
		assert.ErrorContains(t, context.Cause(ctx), "no group was created for 30s")
	})
}
