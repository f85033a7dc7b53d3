package esadmin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestHTTPFailuresAreTyped(t *testing.T) {
	with := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for what, tc := range map[string]struct {
		answer http.HandlerFunc
		status int
		is     error
		retry  bool
	}{
		"not authenticated": {with(http.StatusUnauthorized), 401, esclient.ErrAccessDenied, false},
		"forbidden":         {with(http.StatusForbidden), 403, esclient.ErrAccessDenied, false},
		"not found":         {with(http.StatusNotFound), 404, esadmin.ErrNotFound, false},
		"conflict":          {with(http.StatusConflict), 409, esadmin.ErrUserExists, false},
		"not ready":         {with(http.StatusServiceUnavailable), 503, nil, true},
		"failure": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, strings.Repeat("long story\xff ", 1000))
		}, 500, nil, false},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		}, 200, io.ErrUnexpectedEOF, false},
	} {
		m := answering(t, tc.answer)
		err := m.CreateUser(testContext(t), esadmin.User{Login: "jane"}, "hunter2")
		var failed *esadmin.HTTPError
		require.ErrorAs(t, err, &failed, what)
		var op *esclient.OperationError
		require.ErrorAs(t, err, &op, what)
		assert.Equal(t, "create user", op.Operation)
		assert.Equal(t, tc.status, failed.Status, what)
		assert.Less(t, len(err.Error()), 1000, what)
		assert.NotContains(t, err.Error(), "hunter2", what)
		assert.Equal(t, tc.retry, esclient.SafeToRetry(err), what)
		if tc.is != nil {
			assert.ErrorIs(t, err, tc.is, what)
		}
	}
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	m := answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	_, err := m.Users(testContext(t))
	assert.ErrorContains(t, err, "not the expected JSON")

	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	m = managing(t, esclient.Config{Address: "127.0.0.1:1", HTTPEndpoint: endless.URL, OperationTimeout: time.Minute})
	_, err = m.Users(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrTooLarge, "an endless answer")
}

func TestManagementHonoursItsContext(t *testing.T) {
	m := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := m.Users(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.True(t, esclient.Timeout(err))
	assert.True(t, esclient.SafeToRetry(err), "a read can be repeated")
}

func TestManagementHasAnOperationTimeout(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer srv.Close()
	m := managing(t, esclient.Config{
		Address: "127.0.0.1:1", HTTPEndpoint: srv.URL, OperationTimeout: 20 * time.Millisecond,
	})
	err := m.DisableUser(testContext(t), "jane")
	assert.ErrorIs(t, err, esclient.ErrOperationTimeout)
	assert.True(t, esclient.Timeout(err))
	assert.False(t, esclient.SafeToRetry(err), "the user may exist")
}

func TestManagementOfAClosedClient(t *testing.T) {
	_, c, m := manageOf(t, estest.Persona2310)
	require.NoError(t, c.Close())
	_, err := m.Users(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrClosed)
}

// TestHTTPInterfaceAddresses looks at where requests go.
func TestHTTPInterfaceAddresses(t *testing.T) {
	seeds := []discovery.Endpoint{{Host: "a"}, {Host: "b", Port: 2114}}
	for url, cfg := range map[string]esclient.Config{
		"http://es.example:2113/info":  {Address: "es.example:1113"},
		"https://es.example:2113/info": {Address: "es.example:1113", TLS: &tls.Config{}},
		"http://[::1]:2113/info":       {Address: "[::1]"},
		"http://b:2114/info":           {Gossip: &discovery.GossipConfig{Seeds: seeds}},
		"https://b:2114/info":          {Gossip: &discovery.GossipConfig{Seeds: seeds, TLS: &tls.Config{}}},
		"http://http.example:80/info":  {Address: "es.example", HTTPEndpoint: "http.example:80"},
		"https://http.example:81/info": {Address: "es.example", HTTPEndpoint: "HTTPS://http.example:81/"},
		"http://http.example:2113/info": {
			Address: "es.example", HTTPEndpoint: "http://http.example", TLS: &tls.Config{},
		},
		"https://http.example:2113/info": {
			Gossip: &discovery.GossipConfig{Seeds: seeds}, HTTPEndpoint: "https://http.example",
		},
	} {
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.ErrNotExist}
		}
		err := managing(t, cfg).ReplayParked(testContext(t), "s", "g", 1)
		var failed *esadmin.HTTPError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, url, failed.URL)
		assert.True(t, esclient.SafeToRetry(err), "nothing was sent")
	}
	static, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: seeds[1:]})
	require.NoError(t, err)
	c, err := esclient.New(esclient.Config{Discoverer: static})
	require.NoError(t, err)
	defer c.Close()
	_, err = esadmin.New(c)
	var wrong *esclient.ConfigError
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, "HTTPEndpoint", wrong.Setting)
}

func TestAClusterIsManagedThroughAReachableNode(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"data":[]}`)
	}))
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead, err := discovery.ParseEndpoint(l.Addr().String())
	require.NoError(t, err)
	l.Close()
	alive, err := discovery.ParseEndpoint(srv.Listener.Addr().String())
	require.NoError(t, err)
	m := managing(t, esclient.Config{Gossip: &discovery.GossipConfig{Seeds: []discovery.Endpoint{dead, alive}}})
	users, err := m.Users(testContext(t))
	require.NoError(t, err)
	assert.Empty(t, users)
}

func TestManagementByHTTPS(t *testing.T) {
	var auth string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		io.WriteString(w, `{"data":[{"loginName":"jane"}]}`)
	}))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(certificate), 0o600))
	endpoint := srv.Listener.Addr().String()
	fromString, err := esclient.ParseConnectionString(
		"tcp://127.0.0.1:1?tlsCAFile=" + ca + "&httpEndpoint=https://" + endpoint)
	require.NoError(t, err)
	for what, cfg := range map[string]esclient.Config{
		"the client's TLS":          {Address: "127.0.0.1:1", HTTPEndpoint: endpoint, TLS: &tls.Config{RootCAs: roots}},
		"authorities for HTTPS":     {Address: "127.0.0.1:1", HTTPEndpoint: "https://" + endpoint, TLSCAFile: ca},
		"by the connection string":  fromString,
		"a certificate not trusted": {Address: "127.0.0.1:1", HTTPEndpoint: "https://" + endpoint},
	} {
		cfg.Credentials = &esclient.Credentials{Login: "jane", Password: "secret"}
		users, err := managing(t, cfg).Users(testContext(t))
		if what == "a certificate not trusted" {
			var cert *tls.CertificateVerificationError
			assert.ErrorAs(t, err, &cert, what)
			continue
		}
		require.NoError(t, err, what)
		assert.Equal(t, []esadmin.User{{Login: "jane"}}, users)
		assert.NotEmpty(t, auth)
	}
}

func TestCredentialsAreNotSentInTheClearForARedirect(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer plain.Close()
	srv := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	m := managing(t, esclient.Config{
		Address: "127.0.0.1:1", HTTPEndpoint: srv.URL, TLS: &tls.Config{InsecureSkipVerify: true},
		Credentials: &esclient.Credentials{Login: "jane", Password: "secret"},
	})
	_, err := m.Users(testContext(t))
	var failed *esadmin.HTTPError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, http.StatusTemporaryRedirect, failed.Status)
}
