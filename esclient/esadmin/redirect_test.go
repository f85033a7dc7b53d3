package esadmin_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// httpNode is the HTTP interface of a node, which a test plays.
func httpNode(t testing.TB, ip string, h http.HandlerFunc) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	require.NoError(t, err)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestARedirectKeepsCredentialsInsideTheCluster(t *testing.T) {
	for name, tt := range map[string]struct {
		leaderAt string
		by       func(url string) string // the follower's URL for the leader
		gossip   bool                    // the follower's gossip has the leader
		keeps    bool
	}{
		"another port":                  {leaderAt: "127.0.0.1", keeps: true},
		"another name of the same host": {leaderAt: "127.0.0.1", by: localhost, keeps: true},
		"another host, known by gossip": {leaderAt: "127.0.0.2", gossip: true, keeps: true},
		"an unknown host":               {leaderAt: "127.0.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			leader := httpNode(t, tt.leaderAt, func(w http.ResponseWriter, r *http.Request) {
				login, password, _ := r.BasicAuth()
				got = append(got, login+":"+password)
				fmt.Fprint(w, `{"data":[]}`)
			})
			target := leader
			if tt.by != nil {
				target = tt.by(leader)
			}
			follower := httpNode(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/gossip" && tt.gossip {
					fmt.Fprintf(w, `{"members":[{"state":"Leader","isAlive":true,
						"httpEndPointIp":%q,"httpEndPointPort":2113,
						"externalTcpIp":%[1]q,"externalTcpPort":1113}]}`, tt.leaderAt)
					return
				}
				if r.URL.Path == "/gossip" {
					http.NotFound(w, r)
					return
				}
				http.Redirect(w, r, target+r.URL.Path, http.StatusTemporaryRedirect)
			})
			m := administer(t, open(t, "tcp://admin:changeit@127.0.0.1:1", follower))
			_, err := m.Users(testContext(t))
			if tt.keeps {
				require.NoError(t, err)
				assert.Equal(t, []string{"admin:changeit"}, got)
				return
			}
			assert.ErrorContains(t, err, strings.TrimPrefix(leader, "http://"))
			assert.NotContains(t, err.Error(), "changeit")
			assert.Empty(t, got)
		})
	}
}

// The nodes of a cluster with TLS may also need credentials for their gossip.
func TestARedirectIsCheckedByGossipThatWantsCredentials(t *testing.T) {
	node := func(ip string, h http.HandlerFunc) *httptest.Server {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		require.NoError(t, err)
		srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	var got []string
	leader := node("127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		login, password, _ := r.BasicAuth()
		got = append(got, login+":"+password)
		fmt.Fprint(w, `{"data":[]}`)
	})
	follower := node("127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		switch login, _, _ := r.BasicAuth(); {
		case r.URL.Path != "/gossip":
			http.Redirect(w, r, leader.URL+r.URL.Path, http.StatusTemporaryRedirect)
		case login != "admin":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			fmt.Fprint(w, `{"members":[{"state":"Leader","isAlive":true,"httpEndPointIp":"127.0.0.2",
				"httpEndPointPort":2113,"externalTcpIp":"127.0.0.2","externalTcpPort":1113}]}`)
		}
	})
	seed, err := discovery.ParseEndpoint(follower.Listener.Addr().String())
	require.NoError(t, err)
	m := managing(t, esclient.Config{
		Gossip: &discovery.GossipConfig{
			Seeds: []discovery.Endpoint{seed}, TLS: &tls.Config{InsecureSkipVerify: true},
		},
		Credentials: &esclient.Credentials{Login: "admin", Password: "changeit"},
	})
	_, err = m.Users(testContext(t))
	require.NoError(t, err)
	assert.Equal(t, []string{"admin:changeit"}, got)
}

func localhost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }
