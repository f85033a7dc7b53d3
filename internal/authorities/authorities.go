// Package authorities keeps the certificates of the authorities to trust, which stand in a file.
package authorities

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync"
)

// File is a PEM file, which is read anew for each connection: whoever renews the certificates replaces the file. While
// it cannot be read, those count that it held before. A nil *File trusts as the *tls.Config says.
type File struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	roots *x509.CertPool
	err   error // why roots are older than the file; nil if they are not
}

// Open reads a file for the first time. The path may be empty, for no file: the *File is then nil.
func Open(path string, log *slog.Logger) (*File, error) {
	if path == "" {
		return nil, nil
	}
	roots, err := Read(path)
	return &File{path: path, log: log, roots: roots}, err
}

// Read reads the certificates in a file.
func Read(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no PEM certificate in it")
	}
	return pool, nil
}

// Pool returns the authorities to trust; nil for those of the system. It may be called by any number of goroutines.
func (f *File) Pool() *x509.CertPool {
	if f == nil {
		return nil
	}
	roots, err := Read(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.roots = roots
	} else if f.err == nil {
		f.log.Warn("the authorities to trust cannot be read: those from before count", "file", f.path, "error", err)
	}
	f.err = err
	return f.roots
}

// Trusted returns a configuration with the authorities, where it has none of its own.
func (f *File) Trusted(c *tls.Config) *tls.Config {
	if c == nil || c.RootCAs != nil || f == nil {
		return c
	}
	c = c.Clone()
	c.RootCAs = f.Pool()
	return c
}

// Problem returns why the file could not be read last; nil if it could.
func (f *File) Problem() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
