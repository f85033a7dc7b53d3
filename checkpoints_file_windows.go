package eventstore

import (
	"errors"
	"os"
	"syscall"
)

// errLocked means that another process has locked a file.
var errLocked = errors.New("eventstore: the file is locked")

const errorSharingViolation syscall.Errno = 32

// lockFile creates a file and opens it for this process alone, until unlockFile or the death of the process.
func lockFile(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	const shareNothing = 0
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, shareNothing, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errorSharingViolation):
		return nil, errLocked
	case err != nil:
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

func unlockFile(f *os.File) error { return f.Close() }

// syncDir does nothing: Windows cannot flush a directory, and a rename is in its journal.
func syncDir(string) error { return nil }
