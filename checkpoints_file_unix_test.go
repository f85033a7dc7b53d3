//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package eventstore

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// TestANameIsUnlockedWhileAProgramStarts has a second descriptor of the lock, as a program has that is being started.
func TestANameIsUnlockedWhileAProgramStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := fileCheckpoints(t, dir)
	loadFile(t, store, "name")
	require.NoError(t, store.Save(t.Context(), "name", esclient.CheckpointAtNumber(1)))
	inherited, err := syscall.Dup(int(store.held["name"].lock.Fd()))
	require.NoError(t, err)
	defer func() { assert.NoError(t, syscall.Close(inherited)) }()
	require.NoError(t, store.Close())
	assert.Equal(t, esclient.CheckpointAtNumber(1), loadFile(t, fileCheckpoints(t, dir), "name"))
}
