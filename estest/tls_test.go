package estest_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// dialTLS connects and identifies the client, as connect does.
func dialTLS(t testing.TB, s *estest.Server, cfg *tls.Config) *peer {
	t.Helper()
	nc, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	p := &peer{t: t, s: s, nc: nc, fr: esproto.NewFrameReader(nc, 64<<10, esproto.MaxFrameSize)}
	p.ask(esproto.CmdIdentifyClient, nil, &esproto.IdentifyClient{Version: proto.Int32(1)}, &esproto.ClientIdentified{})
	return p
}

func getTLS(t testing.TB, url string, pool *x509.CertPool) (body []byte, err error) {
	t.Helper()
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	return io.ReadAll(res.Body)
}

func TestTLSOnBothPorts(t *testing.T) {
	s := estest.Run(t, estest.WithTLS())
	assert.Equal(t, "tls://admin:changeit@"+s.Addr(), s.ConnectionString())
	assert.Equal(t, "https://"+s.HTTPAddr(), s.HTTPURL())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := dialTLS(t, s, &tls.Config{RootCAs: s.CertPool(), MaxVersion: version})
		p.mustAppend(nil, "s", newEvent("T", "a"))
	}
	p := dialTLS(t, s, &tls.Config{RootCAs: s.CertPool(), ServerName: "localhost"})
	assert.Len(t, p.read(nil, "s", 0, 10, false).GetEvents(), 2)
	_, err := getTLS(t, s.HTTPURL()+"/ping", s.CertPool())
	require.NoError(t, err)

	require.NoError(t, s.Restart())
	ends(t, p)
	pings(t, dialTLS(t, s, &tls.Config{RootCAs: s.CertPool()}))
}

func TestTLSIsNotTrustedUnasked(t *testing.T) {
	s := estest.Run(t, estest.WithTLS())
	_, err := (&tls.Dialer{}).DialContext(t.Context(), "tcp", s.Addr())
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
	_, err = getTLS(t, s.HTTPURL()+"/ping", nil)
	require.ErrorAs(t, err, &unknown)
	elsewhere := &tls.Dialer{Config: &tls.Config{RootCAs: s.CertPool(), ServerName: "example.org"}}
	_, err = elsewhere.DialContext(t.Context(), "tcp", s.Addr())
	var hostname x509.HostnameError
	require.ErrorAs(t, err, &hostname)
	plain := dial(t, s)
	plain.send(esproto.CmdPing, nil, nil)
	ends(t, plain)
}

func TestWithoutTLSThereIsNoCertificate(t *testing.T) {
	s := estest.Run(t)
	assert.Nil(t, s.CertPool())
	assert.Nil(t, s.CertPEM())
}

// A client in another process reads the certificate from a file.
func TestTheCertificateAsPEM(t *testing.T) {
	s := estest.Run(t, estest.WithTLS())
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(s.CertPEM()))
	pings(t, dialTLS(t, s, &tls.Config{RootCAs: pool}))
}

// What a node with TLS tells of itself, and others of it, is the secure port.
func TestNodesAdvertiseTheSecurePort(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		s := estest.Run(t, estest.WithTLS(), estest.WithPersona(persona))
		_, port, err := net.SplitHostPort(s.Addr())
		require.NoError(t, err)
		info := s.LeaderInfo()
		assert.Equal(t, s.Addr(), joined(info.SecureAddress, int32(info.SecurePort)))
		assert.Zero(t, info.Port)
		assert.Equal(t, persona == estest.Persona2310, info.Address == "", "it must be there up to 5.0")
		body, err := getTLS(t, s.HTTPURL()+"/gossip", s.CertPool())
		require.NoError(t, err)
		assert.Contains(t, string(body), `"externalTcpPort": 0,`)
		assert.Contains(t, string(body), `"externalSecureTcpPort": `+port+",")
	}
}

// One pool is enough for a cluster.
func TestAClusterWithTLS(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithTLS())
	assert.Contains(t, c.ConnectionString(), "; TLS=true")
	for n := range c.Size() {
		pings(t, dialTLS(t, c.Node(n), &tls.Config{RootCAs: c.Node(0).CertPool()}))
	}
}

// A client that does not finish the handshake delays no other client, and is cut off like a silent client.
func TestAHangingHandshake(t *testing.T) {
	s, clock := runByClock(t, estest.WithTLS(), estest.WithHeartbeat(2*time.Second, time.Second))
	hanging := dial(t, s)
	p := dialTLS(t, s, &tls.Config{RootCAs: s.CertPool()})
	require.Eventually(t, func() bool { return s.Stats().Connections == 2 }, patience, eagerness)
	for range 100 {
		if s.Stats().Connections == 1 {
			break
		}
		clock.Advance(time.Second)
		pings(t, p)
	}
	ends(t, hanging)
	pings(t, p)
}
