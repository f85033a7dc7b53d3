//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package eventstore

import (
	"errors"
	"os"
	"syscall"
)

// errLocked means that somebody else has locked a file.
var errLocked = errors.New("eventstore: the file is locked")

// lockFile creates and locks a file, until it is closed or the process dies. The file stays: another process may be
// about to lock it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, &os.PathError{Op: "flock", Path: path, Err: err}
}

// syncDir makes the names of the files of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
