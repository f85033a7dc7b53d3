// Package authorities keeps the certificates of trusted authorities, which are in a file.
package authorities

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync"
)

// File is a PEM file. It is read again for each connection, so the file may be replaced when certificates are renewed.
// While it cannot be read, its earlier content counts. A nil *File trusts the authorities of the *tls.Config.
type File struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	roots *x509.CertPool
	err   error // why roots are older than the file, or nil
}

// Open reads a file for the first time. path may be empty for no file; then the *File is nil.
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

// Pool returns the trusted authorities; nil for those of the system. Any number of goroutines may call it.
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
		f.log.Warn("the trusted authorities cannot be read: the earlier ones are kept", "file", f.path, "error", err)
	}
	f.err = err
	return f.roots
}

// Trusted returns a configuration with the authorities, unless it has its own.
func (f *File) Trusted(c *tls.Config) *tls.Config {
	if c == nil || c.RootCAs != nil || f == nil {
		return c
	}
	c = c.Clone()
	c.RootCAs = f.Pool()
	return c
}

// Problem returns why the last read of the file failed; nil if it succeeded.
func (f *File) Problem() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
