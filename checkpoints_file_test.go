package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

func fileCheckpoints(t testing.TB, dir string) *FileCheckpoints {
	t.Helper()
	store, err := NewFileCheckpoints(dir)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	return store
}

func loadFile(t testing.TB, store *FileCheckpoints, name string) esclient.Checkpoint {
	t.Helper()
	c, err := store.Load(t.Context(), name)
	require.NoError(t, err)
	return c
}

func TestFileCheckpointsKeepSavedCheckpoints(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	store := fileCheckpoints(t, dir)
	kept := map[string]esclient.Checkpoint{
		"invoices/orders": esclient.CheckpointAtNumber(5), "Invoices/orders": esclient.CheckpointAtNumber(6),
		"invoices/$all": esclient.CheckpointAtPosition(esclient.Position{Commit: 9, Prepare: 8}),
		"con":           {}, "../../x": esclient.CheckpointAtNumber(7), "ä\x00%2F": esclient.CheckpointAtNumber(8),
		strings.Repeat("x", 1000): esclient.CheckpointAtNumber(9),
		strings.Repeat("x", 1001): esclient.CheckpointAtNumber(10),
		"":                        esclient.CheckpointAtNumber(11), "before the first": esclient.CheckpointAtNumber(-1),
	}
	assert.ErrorContains(t, store.Save(t.Context(), "con", esclient.Checkpoint{}), "call Load first")
	for name, c := range kept {
		assert.True(t, loadFile(t, store, name).IsZero())
		require.NoError(t, store.Save(t.Context(), name, esclient.CheckpointAtNumber(1)))
		require.NoError(t, store.Save(t.Context(), name, c))
	}
	assert.ErrorIs(t, store.Save(t.Context(), "con", esclient.CheckpointAtNumber(-2)), esclient.ErrInvalidArgument)
	require.NoError(t, store.Close())
	_, err := store.Load(t.Context(), "con")
	assert.ErrorIs(t, err, os.ErrClosed)
	assert.ErrorIs(t, store.Save(t.Context(), "con", esclient.Checkpoint{}), os.ErrClosed)
	again := fileCheckpoints(t, dir)
	for name, c := range kept {
		assert.Equal(t, c, loadFile(t, again, name), "%q", name)
	}
	files, err := os.ReadDir(filepath.Dir(filepath.Dir(dir)))
	require.NoError(t, err)
	assert.Len(t, files, 1, "nothing is written elsewhere")
	_, err = NewFileCheckpoints("")
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
}

func TestASecondUserOfAFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := fileCheckpoints(t, dir), fileCheckpoints(t, dir)
	loadFile(t, first, "name")
	_, err := second.Load(t.Context(), "name")
	require.ErrorIs(t, err, ErrCheckpointTaken)
	assert.ErrorContains(t, err, dir)
	loadFile(t, second, "another")
	require.NoError(t, first.Save(t.Context(), "name", esclient.CheckpointAtNumber(3)))
	require.NoError(t, first.Close())
	assert.Equal(t, esclient.CheckpointAtNumber(3), loadFile(t, second, "name"))
}

// TestADamagedFileIsRefused damages each byte of a file, and cuts it at each place.
func TestADamagedFileIsRefused(t *testing.T) {
	t.Parallel()
	store := fileCheckpoints(t, t.TempDir())
	loadFile(t, store, "name")
	require.NoError(t, store.Save(t.Context(), "name", esclient.CheckpointAtNumber(1234)))
	path := store.path("name")
	intact, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range intact[:len(intact)-1] { // the line break at the end may be missing
		damaged := append([]byte(nil), intact...)
		damaged[i] ^= 1 << rand.IntN(8)
		for _, data := range [][]byte{damaged, intact[:i]} {
			require.NoError(t, os.WriteFile(path, data, 0o600))
			c, err := store.Load(t.Context(), "name")
			if err == nil { // such as another case of a letter of a member's name
				assert.Equal(t, esclient.CheckpointAtNumber(1234), c, "%q", data)
				continue
			}
			assert.ErrorIs(t, err, ErrCheckpointCorrupt, "%q", data)
			assert.ErrorContains(t, err, path)
		}
	}
	other := store.path("other")
	require.NoError(t, os.WriteFile(other, intact, 0o600))
	_, err = store.Load(t.Context(), "other")
	assert.ErrorIs(t, err, ErrCheckpointCorrupt, "a file that was copied to another name")
}

// TestABrokenDiskKeepsTheOldCheckpoint has each step fail, or the process end before or after it.
func TestABrokenDiskKeepsTheOldCheckpoint(t *testing.T) {
	t.Parallel()
	for step, change := range map[string]func(d *disk, err error){
		"write": func(d *disk, err error) {
			d.write = func(*os.File, []byte) (int, error) { return 0, err }
		},
		"short write": func(d *disk, err error) {
			d.write = func(f *os.File, data []byte) (int, error) {
				n, _ := f.Write(data[:len(data)/2])
				return n, err
			}
		},
		"sync":   func(d *disk, err error) { d.sync = func(*os.File) error { return err } },
		"rename": func(d *disk, err error) { d.rename = func(string, string) error { return err } },
	} {
		store := fileCheckpoints(t, t.TempDir())
		loadFile(t, store, "name")
		require.NoError(t, store.Save(t.Context(), "name", esclient.CheckpointAtNumber(1)))
		healthy := store.disk
		full := &os.PathError{Op: step, Path: "x", Err: syscall.ENOSPC}
		change(&store.disk, full)
		assert.ErrorIs(t, store.Save(t.Context(), "name", esclient.CheckpointAtNumber(2)), syscall.ENOSPC, step)
		assert.Equal(t, esclient.CheckpointAtNumber(1), loadFile(t, store, "name"), step)
		assert.NoFileExists(t, store.path("name")+".new", step)
		store.disk = healthy
		require.NoError(t, store.Save(t.Context(), "name", esclient.CheckpointAtNumber(3)))
		assert.Equal(t, esclient.CheckpointAtNumber(3), loadFile(t, store, "name"), step)
	}
}

func TestADirectoryThatCannotBeSyncedFailsTheSave(t *testing.T) {
	t.Parallel()
	store := fileCheckpoints(t, t.TempDir())
	loadFile(t, store, "name")
	broken := errors.New("broken disk")
	store.disk.syncDir = func(string) error { return broken }
	require.ErrorIs(t, store.Save(t.Context(), "name", esclient.CheckpointAtNumber(2)), broken)
}

// TestAnEndBetweenTwoStepsLeavesTheOldOrTheNewCheckpoint ends the process, as far as its files go, at each step.
func TestAnEndBetweenTwoStepsLeavesTheOldOrTheNewCheckpoint(t *testing.T) {
	t.Parallel()
	old, fresh := esclient.CheckpointAtNumber(1), esclient.CheckpointAtNumber(200)
	type ended struct{}
	for want, change := range map[esclient.Checkpoint][]func(d *disk){
		old: {
			func(d *disk) { d.write = func(*os.File, []byte) (int, error) { panic(ended{}) } },
			func(d *disk) {
				d.write = func(f *os.File, data []byte) (int, error) {
					_, _ = f.Write(data[:len(data)/2])
					panic(ended{})
				}
			},
			func(d *disk) { d.sync = func(*os.File) error { panic(ended{}) } },
			func(d *disk) { d.rename = func(string, string) error { panic(ended{}) } },
		},
		fresh: {func(d *disk) { d.syncDir = func(string) error { panic(ended{}) } }},
	} {
		for i, at := range change {
			dir := t.TempDir()
			dying := fileCheckpoints(t, dir)
			loadFile(t, dying, "name")
			require.NoError(t, dying.Save(t.Context(), "name", old))
			at(&dying.disk)
			assert.PanicsWithValue(t, ended{}, func() { _ = dying.Save(t.Context(), "name", fresh) })
			require.NoError(t, dying.Close()) // as the system does when the process ends

			next := fileCheckpoints(t, dir)
			assert.Equal(t, want, loadFile(t, next, "name"), i)
			require.NoError(t, next.Save(t.Context(), "name", esclient.CheckpointAtNumber(3)))
			assert.Equal(t, esclient.CheckpointAtNumber(3), loadFile(t, next, "name"))
		}
	}
}

func TestFileCheckpointsAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	store := fileCheckpoints(t, t.TempDir())
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			name := fmt.Sprint("name", i/2) // two users of each
			for n := range int64(20) {
				loadFile(t, store, name)
				assert.NoError(t, store.Save(t.Context(), name, esclient.CheckpointAtNumber(n)))
			}
		})
	}
	users.Wait()
	assert.Equal(t, esclient.CheckpointAtNumber(19), loadFile(t, store, "name0"))
}

// FuzzCheckpointFile checks that no content of a file makes Load panic, and that a loaded checkpoint survives a Save.
func FuzzCheckpointFile(f *testing.F) {
	data, err := encodeFile("name", esclient.CheckpointAtNumber(5), `{"stream":"s"}`)
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"checkpoint":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeFile(data, "name")
		if err != nil {
			return
		}
		again, err := encodeFile(c.Name, c.Checkpoint, c.Source)
		require.NoError(t, err)
		d, err := decodeFile(again, "name")
		require.NoError(t, err)
		require.Equal(t, c.Source, d.Source)
		require.Equal(t, c.Checkpoint, d.Checkpoint)
	})
}

func TestFileNamesDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, name := range []string{
		"", ".", "..", "a", "A", "a/b", "a%2Fb", "a%2fb", `a\b`, "a:b", "a~b", "a ", "a.", "ä", "a\x00",
		strings.Repeat("a", 199), strings.Repeat("a", 200), strings.Repeat("a", 201), strings.Repeat("a", 202),
		strings.Repeat("/", 300),
	} {
		file := checkpointFileName(name)
		assert.LessOrEqual(t, len(file)+len(".lock"), 255)
		assert.NotContains(t, file, "/")
		folded := strings.ToLower(file)
		assert.Empty(t, seen[folded], "%q and %q have one file", name, seen[folded])
		seen[folded] = fmt.Sprintf("%q", name)
	}
}

// TestADiskThatHangsHoldsUpNoOtherName has a Save that goes on after the end of its subscription.
func TestADiskThatHangsHoldsUpNoOtherName(t *testing.T) {
	t.Parallel()
	store := fileCheckpoints(t, t.TempDir())
	owner := &checkpointKeeper{}
	owner.ctx, owner.cancel = context.WithCancel((&storeCall{keeper: owner}).context(t.Context()))
	defer owner.cancel()
	_, err := store.Load(owner.ctx, "name")
	require.NoError(t, err)
	writing, goOn := make(chan struct{}), make(chan struct{})
	write := store.disk.write
	store.disk.write = func(f *os.File, data []byte) (int, error) {
		close(writing)
		<-goOn
		return write(f, data)
	}
	saved := make(chan error, 1)
	go func() { saved <- store.Save(owner.ctx, "name", esclient.CheckpointAtNumber(7)) }()
	<-writing
	owner.cancel()
	for range 10 { // before and after the store has noticed the end
		_, err = store.Load(t.Context(), "name")
		assert.ErrorIs(t, err, ErrCheckpointTaken, "the Save may still write")
		loadFile(t, store, "another")
	}
	store.disk.write = write
	close(goOn)
	require.NoError(t, <-saved)
	var c esclient.Checkpoint
	require.Eventually(t, func() bool {
		c, err = store.Load(t.Context(), "name")
		return err == nil
	}, time.Minute, time.Millisecond)
	assert.Equal(t, esclient.CheckpointAtNumber(7), c)
	assert.Error(t, store.Save(owner.ctx, "name", esclient.CheckpointAtNumber(8)), "the lock is another's")
	assert.Equal(t, esclient.CheckpointAtNumber(7), loadFile(t, store, "name"))
}
