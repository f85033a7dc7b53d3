package eventstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// The log is told at intervals how far a Subscriber is with many groups, and at the end; with few it is not.
func TestMakingManyGroupsIsTold(t *testing.T) {
	var m making
	now := time.Unix(1000, 0)
	for range 1000 {
		m.begin(now)
	}
	type line struct{ made, waiting int }
	var told []line
	for range 1000 { // 17 ms each
		now = now.Add(17 * time.Millisecond)
		if made, waiting, tell := m.end(now, nil); tell {
			told = append(told, line{made, waiting})
		}
	}
	assert.Equal(t, []line{{295, 705}, {590, 410}, {885, 115}, {1000, 0}}, told)

	m.begin(now)
	_, _, tell := m.end(now.Add(time.Minute), nil)
	assert.False(t, tell, "a single one")
}

// While groups get made, none of many calls runs out of time; a server that makes none is given up.
func TestPatienceLastsWhileGroupsAreMade(t *testing.T) {
	var m making
	begun := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	for range 5 {
		m.begin(begun)
	}
	assert.Equal(t, initializeTimeout, m.left(begun, begun))
	assert.Equal(t, 10*time.Second, m.left(at(20), begun))
	m.end(at(20), nil)
	assert.Equal(t, 30*time.Second, m.left(at(20), begun))
	m.end(at(40), esclient.ErrGroupExists)
	assert.Equal(t, 29*time.Second, m.left(at(41), begun), "somebody else made it")
	m.end(at(50), errors.New("refused"))
	assert.Equal(t, 20*time.Second, m.left(at(50), begun), "that was none")
	assert.Equal(t, 30*time.Second, m.left(at(100), at(100)), "a call that begins later has its own time")
	assert.LessOrEqual(t, m.left(at(70), begun), time.Duration(0))

	m.last = time.Now().Add(-initializeTimeout)
	ctx, cancel := m.patience(t.Context())
	require.NoError(t, ctx.Err())
	cancel()
	assert.ErrorIs(t, context.Cause(ctx), context.Canceled)
}
