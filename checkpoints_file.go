package eventstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// FileCheckpoints is a [Checkpoints] store in a local directory, with one file for each name. Its methods are safe for
// concurrent use. A Save that returned nil survives a crash of the machine.
//
// A Load locks the name until the subscription ends. If two processes use one name, the first goes on. The Subscribe
// call of the other fails with [ErrCheckpointTaken] after CheckpointTimeout. The operating system unlocks the names of
// a process that dies. Do not share the directory between machines: many network file systems do not lock.
type FileCheckpoints struct {
	dir  string
	disk disk

	mu     sync.Mutex
	held   map[string]*heldFile // by name
	closed bool
}

var _ Checkpoints = (*FileCheckpoints)(nil)

// heldFile is a file whose name this process has locked.
type heldFile struct {
	by   *checkpointKeeper // the subscription; nil if another caller has loaded the checkpoint
	lock *os.File

	mu       sync.Mutex // held while the file is used
	released bool       // another process may have the name
}

// disk makes the changes of files. Tests replace it by one that fails.
type disk struct {
	write   func(f *os.File, data []byte) (int, error)
	sync    func(f *os.File) error
	rename  func(from, to string) error
	syncDir func(dir string) error
}

var errFilesClosed = fmt.Errorf("eventstore: the file checkpoints are closed: %w", fs.ErrClosed)

// NewFileCheckpoints returns a store in a directory, which it creates if it is missing.
func NewFileCheckpoints(dir string) (*FileCheckpoints, error) {
	if dir == "" {
		return nil, &esclient.ArgumentError{Argument: "dir", Reason: "is empty"}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return &FileCheckpoints{dir: dir, held: make(map[string]*heldFile), disk: disk{
		write: (*os.File).Write, sync: (*os.File).Sync, rename: os.Rename, syncDir: syncDir,
	}}, nil
}

// makeDir makes a directory durably. If the directory exists, the process needs no access to its parents.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// Close unlocks all names. Call it after the Subscribers are closed; later calls of Load and Save fail. A Subscriber
// unlocks its names by itself.
func (s *FileCheckpoints) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for name, h := range s.held {
		errs = append(errs, h.release())
		delete(s.held, name)
	}
	return errors.Join(errs...)
}

// Load implements [Checkpoints]. It locks the name, and returns [ErrCheckpointTaken] if another process or Subscriber
// has locked it, [ErrCheckpointCorrupt] if the file was damaged, and [ErrCheckpointSource] if the checkpoint is one of
// another stream or filter.
func (s *FileCheckpoints) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	if err := ctx.Err(); err != nil {
		return esclient.Checkpoint{}, err
	}
	h, err := s.hold(name, checkpointOwner(ctx))
	if err != nil {
		return esclient.Checkpoint{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	path := s.path(name)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return esclient.Checkpoint{}, nil
	case err != nil:
		return esclient.Checkpoint{}, err
	}
	saved, err := decodeFile(data, name)
	if err != nil {
		return esclient.Checkpoint{}, fmt.Errorf("%w: file %s: %w", ErrCheckpointCorrupt, path, err)
	}
	return saved.Checkpoint, CheckCheckpointSource(ctx, saved.Source)
}

// hold locks a name for a subscription, unless it has it already.
func (s *FileCheckpoints) hold(name string, by *checkpointKeeper) (*heldFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errFilesClosed
	}
	if h := s.held[name]; h != nil {
		switch {
		case h.by == by:
			return h, nil
		case h.by == nil || h.by.ctx.Err() == nil:
			return nil, fmt.Errorf("%w: another Subscriber of this process", ErrCheckpointTaken)
		}
		// Its subscription has ended.
		if released, err := h.tryRelease(); err != nil || !released {
			return nil, cmp.Or(err, fmt.Errorf("%w: a disk is slow to save it", ErrCheckpointTaken))
		}
		delete(s.held, name)
	}
	path := s.path(name) + ".lock"
	lock, err := lockFile(path)
	if err != nil {
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("%w: another process has locked %s", ErrCheckpointTaken, path)
		}
		return nil, err
	}
	h := &heldFile{by: by, lock: lock}
	s.held[name] = h
	if by != nil {
		context.AfterFunc(by.ctx, func() { s.unhold(name, h) })
	}
	return h, nil
}

// unhold unlocks the name of a subscription that has ended.
func (s *FileCheckpoints) unhold(name string, h *heldFile) {
	s.mu.Lock()
	held := s.held[name] == h
	if held {
		delete(s.held, name)
	}
	s.mu.Unlock()
	if held {
		_ = h.release() // without s.mu, because a disk may hang; an error does not matter: the file is unlocked
	}
}

func (h *heldFile) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.releaseLocked()
}

// tryRelease calls release, unless the file is in use.
func (h *heldFile) tryRelease() (released bool, err error) {
	if !h.mu.TryLock() {
		return false, nil
	}
	defer h.mu.Unlock()
	return true, h.releaseLocked()
}

func (h *heldFile) releaseLocked() error {
	h.released = true
	return unlockFile(h.lock)
}

// Save implements [Checkpoints]. It writes a new file, and replaces the old one when the new one is on the disk.
func (s *FileCheckpoints) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	h, closed := s.held[name], s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return errFilesClosed
	case h == nil:
		return fmt.Errorf("eventstore: checkpoint %q was not loaded: call Load first", name)
	case h.by != checkpointOwner(ctx):
		return fmt.Errorf("%w: another Subscriber of this process", ErrCheckpointTaken)
	}
	data, err := encodeFile(name, c, storeCallFrom(ctx).source())
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return fmt.Errorf("eventstore: checkpoint %q is not locked any more: its subscription has ended", name)
	}
	return s.disk.replace(s.path(name), data)
}

// replace replaces a file as a whole: after a crash, either the old or the new one is on the disk.
func (d *disk) replace(path string, data []byte) error {
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = d.write(f, data)
	if err == nil {
		err = d.sync(f)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = d.rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh) // the disk may be full, and the new file takes space
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// fileContent is the JSON in a file.
type fileContent struct {
	Name       string              `json:"name"`
	Checkpoint esclient.Checkpoint `json:"checkpoint"`
	Source     string              `json:"source,omitempty"`
	Checksum   string              `json:"crc32c"` // of the other members
}

func (f *fileContent) checksum() string {
	text := f.Name + "\n" + f.Checkpoint.String()
	if f.Source != "" {
		text += "\n" + f.Source
	}
	sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf("%08x", sum)
}

func encodeFile(name string, c esclient.Checkpoint, source string) ([]byte, error) {
	content := fileContent{Name: name, Checkpoint: c, Source: source}
	content.Checksum = content.checksum()
	data, err := json.Marshal(content)
	return append(data, '\n'), err
}

func decodeFile(data []byte, name string) (content fileContent, err error) {
	if err := decodeCheckpoint(data, &content); err != nil {
		return content, err
	}
	switch {
	case content.Name != name:
		return content, fmt.Errorf("it is that of %q", content.Name)
	case content.Checksum != content.checksum():
		return content, errors.New("the checksum is wrong")
	}
	return content, nil
}
