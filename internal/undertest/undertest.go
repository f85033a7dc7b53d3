// Package undertest gives the tests of the client and of the connector the server that they run on, and the user as
// whom they do: an embedded server of their own or a real one, an administrator, an operator or a user in no group at
// all. It is for tests only.
package undertest

import (
	"cmp"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// ServerURL is the environment variable that names a real server to run the tests on, by the connection string of an
// administrator. Without it each test has an embedded server of its own.
const ServerURL = "WATERMILL_TEST_EVENTSTORE_URL"

// RunAs is the environment variable that names the user as whom the tests run, where another than an administrator
// suffices: Ops or Plain. On a real server the password of both must be changeit.
const RunAs = "WATERMILL_TEST_EVENTSTORE_AS"

// Users as whom the tests run.
const (
	Admin = "admin" // the default
	Ops   = "ops"   // who is in $ops and, on an embedded server, has the rights looked up beside other requests
	Plain = "plain" // who is in no group
)

const password = "changeit"

// asyncRights is how long an embedded server looks for the rights of Ops, half of it at least.
const asyncRights = time.Millisecond

// User returns as whom the tests run.
func User() string { return cmp.Or(os.Getenv(RunAs), Admin) }

// Real returns the connection string of the real server to run on, as an administrator; empty if there is none.
func Real() string { return os.Getenv(ServerURL) }

// EmbeddedOnly skips a test that needs control of the server.
func EmbeddedOnly(t testing.TB) {
	t.Helper()
	if Real() != "" {
		t.Skip("needs control of the server, which a server given by " + ServerURL + " does not offer")
	}
}

// AdminOnly skips a test that takes an administrator, for the reason given, if it runs as somebody else.
func AdminOnly(t testing.TB, reason string) {
	t.Helper()
	if User() != Admin {
		t.Skipf("takes an administrator, and this is %s: %s", User(), reason)
	}
}

// Run starts an embedded server that knows the user as whom the tests run.
func Run(t testing.TB, opts ...estest.Option) *estest.Server {
	t.Helper()
	return estest.Run(t, append(users(), opts...)...)
}

// RunCluster is Run for a cluster.
func RunCluster(t testing.TB, nodes int, opts ...estest.Option) *estest.Cluster {
	t.Helper()
	return estest.RunCluster(t, nodes, append(users(), opts...)...)
}

func users() []estest.Option {
	switch User() {
	case Plain:
		return []estest.Option{estest.WithUser(Plain, password)}
	case Ops:
		return []estest.Option{estest.WithAsyncRights(asyncRights)}
	}
	return nil
}

// URL returns the connection string of the server under test, an embedded one unless there is a real one, for the user
// as whom the tests run.
func URL(t testing.TB) string {
	t.Helper()
	if server := Real(); server != "" {
		return As(server)
	}
	return As(Run(t).ConnectionString())
}

var credentials = regexp.MustCompile(`(?i)\bDefaultUserCredentials=[^;&]*`)

// As returns a connection string of an administrator as that of the user as whom the tests run.
func As(connection string) string {
	if User() == Admin {
		return connection
	}
	if credentials.MatchString(connection) {
		return credentials.ReplaceAllString(connection, "DefaultUserCredentials="+User()+":"+password)
	}
	scheme, rest, ok := strings.Cut(connection, "://")
	if !ok {
		return connection + "; DefaultUserCredentials=" + User() + ":" + password
	}
	end := strings.IndexAny(rest, "/?;")
	if end < 0 {
		end = len(rest)
	}
	host := rest[:end][strings.LastIndex(rest[:end], "@")+1:]
	return scheme + "://" + url.UserPassword(User(), password).String() + "@" + host + rest[end:]
}
