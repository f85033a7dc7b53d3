// Package undertest gives tests of the client and the connector their server and their user. The server is an embedded
// or a real one. The user is an administrator, an operator, or a user in no group. Only tests import it.
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

// ServerURL is the environment variable with the connection string of a real server to test, for an administrator.
// Without it each test starts its own embedded server.
const ServerURL = "WATERMILL_TEST_EVENTSTORE_URL"

// RunAs is the environment variable with the user for tests that do not need an administrator: Ops or Plain. On a real
// server the password of both must be changeit.
const RunAs = "WATERMILL_TEST_EVENTSTORE_AS"

// Users that run the tests.
const (
	Admin = "admin" // the default
	Ops   = "ops"   // in $ops; an embedded server looks up its rights asynchronously
	Plain = "plain" // in no group
)

const password = "changeit"

// asyncRights is the longest time that an embedded server needs to look up the rights of Ops. The shortest is half of
// it.
const asyncRights = time.Millisecond

// User returns the user that runs the tests.
func User() string { return cmp.Or(os.Getenv(RunAs), Admin) }

// Real returns the connection string of a real server for an administrator; "" if there is none.
func Real() string { return os.Getenv(ServerURL) }

// EmbeddedOnly skips a test that needs control of the server.
func EmbeddedOnly(t testing.TB) {
	t.Helper()
	if Real() != "" {
		t.Skip("needs control of the server, but tests cannot control that of " + ServerURL)
	}
}

// AdminOnly skips a test that needs an administrator, with the reason, if another user runs it.
func AdminOnly(t testing.TB, reason string) {
	t.Helper()
	if User() != Admin {
		t.Skipf("needs an administrator, not %s: %s", User(), reason)
	}
}

// Run starts an embedded server that has the user of the tests.
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

// URL returns the connection string of the server under test for the user of the tests. The server is embedded unless
// there is a real one.
func URL(t testing.TB) string {
	t.Helper()
	if server := Real(); server != "" {
		return As(server)
	}
	return As(Run(t).ConnectionString())
}

var credentials = regexp.MustCompile(`(?i)\bDefaultUserCredentials=[^;&]*`)

// As returns an administrator's connection string with the user of the tests instead.
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
