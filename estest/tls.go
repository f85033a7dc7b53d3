package estest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

// WithTLS makes the server accept only encrypted connections on both ports: TLS 1.2 or 1.3, as servers from 20.6 on.
// The server makes its certificate when it starts, for localhost, the loopback addresses and the hosts of its
// addresses; see [Server.CertPool].
func WithTLS() Option { return func(c *config) { c.tls = true } }

// certLife is how long certificates are valid. They are never stored.
const certLife = 365 * 24 * time.Hour

// authority signs the certificates of all servers of the process, so that a client that trusts one trusts a whole
// cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var processAuthority = sync.OnceValues(newAuthority)

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("estest: a key cannot be made: %w", err)
	}
	template := certTemplate(1, "estest CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("estest: a certificate cannot be made: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("estest: the certificate that was made cannot be read: %w", err)
	}
	return &authority{cert, key}, nil
}

func certTemplate(serial int64, name string) *x509.Certificate {
	now := time.Now() // clients check it by the system's time, not by the server's clock
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife)}
}

// issue makes a certificate for a server at these hosts.
func (a *authority) issue(hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("estest: a key cannot be made: %w", err)
	}
	template := certTemplate(time.Now().UnixNano(), "eventstore-node")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("estest: a certificate cannot be made: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// prepareTLS gives the server its certificate.
func (s *Server) prepareTLS() error {
	ca, err := processAuthority()
	if err != nil {
		return err
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, addr := range []string{s.cfg.tcpAddr, s.cfg.httpAddr} {
		if host, _, err := net.SplitHostPort(addr); err == nil && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	cert, err := ca.issue(hosts)
	if err != nil {
		return err
	}
	s.authority = ca
	s.tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return nil
}

// CertPool returns the root certificates that a client needs, as RootCAs of its tls.Config, to connect to this server
// or to any other server with TLS in this process. It is nil without TLS.
func (s *Server) CertPool() *x509.CertPool {
	if s.authority == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.authority.cert)
	return pool
}

// CertPEM returns the certificate of [Server.CertPool] in PEM format, for clients that read a file. It is nil without
// TLS.
func (s *Server) CertPEM() []byte {
	if s.authority == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.authority.cert.Raw})
}

// encrypted is nc with TLS, if the server has that. The handshake happens with the first byte.
func (s *Server) encrypted(nc net.Conn) net.Conn {
	if s.tlsConfig == nil {
		return nc
	}
	return tls.Server(nc, s.tlsConfig)
}

// encryptedListener is the same for HTTP.
func (s *Server) encryptedListener(l net.Listener) net.Listener {
	if s.tlsConfig == nil {
		return l
	}
	return tls.NewListener(l, s.tlsConfig)
}
