//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package eventstore

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// errLocked means that another process has locked a file.
var errLocked = errors.New("eventstore: the file is locked")

// lockFile fails: without a lock, two processes could overwrite each other's checkpoints.
func lockFile(path string) (*os.File, error) {
	err := fmt.Errorf("files cannot be locked on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	return nil, &os.PathError{Op: "lock", Path: path, Err: err}
}

func unlockFile(f *os.File) error { return f.Close() }

func syncDir(string) error { return nil }
