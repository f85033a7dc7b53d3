package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// asProgram makes the test binary run the program, for tests of signals and exits.
const asProgram = "ESTEST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// started is a server that runs.
type started struct {
	t     testing.TB
	said  map[string]string // its addresses in its output
	first string
}

// start runs the program in the process until the test ends.
func start(t testing.TB, args ...string) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0"}, args...), in, io.Discard)
		in.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	s := listenTo(t, lines)
	t.Cleanup(func() {
		cancel()
		last := ""
		for lines.Scan() {
			last = lines.Text()
		}
		assert.Equal(t, "Ending.", last)
		require.NoError(t, <-ended)
	})
	return s
}

// listenTo reads the program's output at its start.
func listenTo(t testing.TB, lines *bufio.Scanner) *started {
	t.Helper()
	s := &started{t: t, said: make(map[string]string)}
	require.True(t, lines.Scan(), "it says something")
	s.first = lines.Text()
	for s.said["HTTP"] == "" && lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		s.said[key] = strings.TrimSpace(value)
	}
	require.NotEmpty(t, s.said["HTTP"], "it prints its addresses")
	return s
}

// get makes an HTTP request as a user, or without credentials, and expects a status.
func (s *started) get(path, login, password string, status int) []byte {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.said["HTTP"]+path, http.NoBody)
	require.NoError(s.t, err)
	req.Close = true
	if login != "" {
		req.SetBasicAuth(login, password)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	assert.Equal(s.t, status, res.StatusCode, path)
	return body
}

func TestItSaysHowToConnect(t *testing.T) {
	for _, persona := range []string{"5.0.11", "4.1.4", "23.10"} {
		s := start(t, "-persona", persona)
		assert.Contains(t, s.first, "EventStore "+persona)
		assert.Contains(t, s.first, "in memory only")
		for path, status := range map[string]int{"/ping": 200, "/gossip": 200, "/health/live": 204, "/": 200} {
			s.get(path, "", "", status)
		}
		assert.Contains(t, string(s.get("/info", "", "", 200)), persona)
		addr, ok := strings.CutPrefix(s.said["TCP"], "tcp://admin:changeit@")
		require.True(t, ok, s.said["TCP"])
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		nc.Close()
	}
}

func TestUsersProjectionsAndAnonymousAccess(t *testing.T) {
	s := start(t, "-persona", "23.10", "-anonymous", "-projections",
		"-user", "ann:secret:$admins,writers", "-user", "admin:other")
	assert.Contains(t, s.said["TCP"], "tcp://admin:other@")
	var user struct {
		Data struct{ Groups []string }
	}
	require.NoError(t, json.Unmarshal(s.get("/users/ann", "ann", "secret", 200), &user))
	assert.Equal(t, []string{"$admins", "writers"}, user.Data.Groups)
	s.get("/users/ann", "admin", "changeit", 401)
	s.get("/stats", "", "", 200)
	assert.Contains(t, string(s.get("/info", "", "", 200)), `"projections": true`)
}

func TestInsecure(t *testing.T) {
	s := start(t, "-persona", "23.10", "-insecure")
	assert.Contains(t, s.said["TCP"], "tcp://")
	s.get("/stats", "", "", 200)
	s.get("/stats", "admin", "wrong", 200)
	s.get("/users", "admin", "changeit", 404)
	assert.Contains(t, string(s.get("/info", "", "", 200)), `"insecure"`)
}

func TestTheCertificateIsWrittenDown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "the ca.pem")
	s := start(t, "-tls-ca", file)
	connect, ok := strings.CutPrefix(s.said["TCP"], "tls://admin:changeit@")
	require.True(t, ok, s.said["TCP"])
	addr, query, _ := strings.Cut(connect, "?")
	assert.Equal(t, "tlsCAFile="+strings.NewReplacer("/", "%2F", " ", "+").Replace(file), query)
	pem, err := os.ReadFile(file)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	for _, a := range []string{addr, strings.TrimPrefix(s.said["HTTP"], "https://")} {
		nc, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(t.Context(), "tcp", a)
		require.NoError(t, err)
		nc.Close()
	}
}

func TestTLSWithoutAFile(t *testing.T) {
	s := start(t, "-tls")
	assert.Contains(t, s.said["TLS"], "-tls-ca")
	assert.Contains(t, s.said["HTTP"], "https://")
}

func TestACluster(t *testing.T) {
	s := start(t, "-cluster", "3", "-persona", "23.10", "-async-rights", "1ms")
	assert.Contains(t, s.first, "a cluster of 3")
	assert.True(t, strings.HasPrefix(s.said["ALL"], "GossipSeeds="), s.said["ALL"])
	var gossip struct {
		Members []struct{ State string }
	}
	require.NoError(t, json.Unmarshal(s.get("/gossip", "", "", 200), &gossip))
	var states []string
	for _, m := range gossip.Members {
		states = append(states, m.State)
	}
	assert.ElementsMatch(t, []string{"Leader", "Follower", "Follower"}, states)
}

func TestAClusterWithTLSSaysWhatToTrust(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	s := start(t, "-cluster", "3", "-tls-ca", file)
	assert.Contains(t, s.said["ALL"], "TLS=true; TLSCAFile="+file)
	assert.Contains(t, s.said["TCP"], "tls://")
}

// A signal ends the process at once, without an error.
func TestASignalEndsTheProcess(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.Command(os.Args[0], "-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0")
		cmd.Env = append(os.Environ(), asProgram+"=1")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		s := listenTo(t, lines)
		s.get("/ping", "", "", 200)
		require.NoError(t, cmd.Process.Signal(signal))
		require.True(t, lines.Scan())
		assert.Equal(t, "Ending.", lines.Text())
		require.NoError(t, cmd.Wait())
		limit.Stop()
	}
}

func TestBadFlags(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, args := range [][]string{
		{"-tcp", "nowhere"}, {"-persona", "3.9"}, {"-log-level", "loud"}, {"-no-such-flag"}, {"surplus"}, {"-h"},
		{"-tcp", taken.Addr().String()},
		{"-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-tls-ca", "/no/such/dir/ca.pem"},
		{"-insecure"}, {"-insecure", "-persona", "23.10", "-tls"},
		{"-cluster", "-1"}, {"-cluster", "3", "-http", ""}, {"-cluster", "3", "-tcp", "127.0.0.1:65534"},
		{"-user", "ann"}, {"-user", ":secret"}, {"-user", "ann:"},
	} {
		var stdout, stderr strings.Builder
		err := run(t.Context(), args, &stdout, &stderr)
		assert.Error(t, err, args)
		assert.Empty(t, stdout.String(), args)
		assert.NotContains(t, fmt.Sprint(err)+stderr.String(), "secret", args)
	}
}
