//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package eventstore

import (
	"errors"
	"os"
	"syscall"
)

// errLocked means that another process has locked a file.
var errLocked = errors.New("eventstore: the file is locked")

// lockFile creates and locks a file, until unlockFile or the death of the process. No function removes the file,
// because another process may be about to lock it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, &os.PathError{Op: "flock", Path: path, Err: err}
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// unlockFile unlocks and closes a file. Closing is not enough: while this process starts another program, that program
// has the file too for a moment.
func unlockFile(f *os.File) error {
	err := flock(f, syscall.LOCK_UN)
	return errors.Join(err, f.Close())
}

// syncDir makes the names of the files in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
