package esclient

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
)

// authorities are the certificates of Config.TLSCAFile, which is read anew for each connection: whoever renews them
// replaces the file. While it cannot be read, those count that it held before. The zero authorities trust as the
// *tls.Config says.
type authorities struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	roots *x509.CertPool
	err   error // why roots are older than the file; nil if they are not
}

// newAuthorities reads the file that a configuration names, if it does.
func newAuthorities(cfg *Config) (*authorities, error) {
	a := &authorities{path: cfg.TLSCAFile, log: cfg.Logger}
	if a.path == "" {
		return a, nil
	}
	var err error
	a.roots, err = readCAFile("TLSCAFile", a.path)
	return a, err
}

// pool returns the authorities to trust; nil for those of the system. It may be called by any number of goroutines.
func (a *authorities) pool() *x509.CertPool {
	if a.path == "" {
		return nil
	}
	roots, err := readCAFile("TLSCAFile", a.path)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.roots = roots
	} else if a.err == nil {
		a.log.Warn("the authorities to trust cannot be read: those from before count", "error", err)
	}
	a.err = err
	return a.roots
}

// trusted returns a configuration with the authorities, where it has none of its own.
func (a *authorities) trusted(c *tls.Config) *tls.Config {
	if c == nil || c.RootCAs != nil || a.path == "" {
		return c
	}
	c = c.Clone()
	c.RootCAs = a.pool()
	return c
}

// problem returns why the file could not be read last; nil if it could.
func (a *authorities) problem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}
