package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestPasswordsAreReadWithoutAnEcho(t *testing.T) {
	t.Parallel()
	server := estest.Run(t, estest.WithUser("ann", "correct horse"), estest.WithPersona(estest.Persona2310))
	s := on(t, server)

	r := s.run("", "ping", "--url", "tcp://ann:correct%20horse@"+server.Addr())
	assert.NotContains(t, r.expect(exitUsage, "--url has a password").err, "horse")
	r = s.run("", "ping", "--url", "ConnectTo=tcp://"+server.Addr()+"; DefaultUserCredentials=ann:correct horse")
	assert.NotContains(t, r.expect(exitUsage, "--url has a password").err, "horse")
	r = s.run("", "ping", "--url", "tcp://ann:horse:@/:").expect(exitUsage, "--url")
	assert.NotContains(t, r.err, "horse", "not even one that cannot be read")

	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("correct horse\nsecond line\n"), 0o600))
	s.ok("ping", "--url", "tcp://"+server.Addr(), "--user", "ann", "--password-file", file)
	assert.Equal(t, "ann", one[infoJSON](s.ok("info", "--json", "--user", "ann", "--password-file", file)).User)

	require.NoError(t, os.WriteFile(file, []byte("wrong\n"), 0o600))
	r = s.run("", "ping", "--user", "ann", "--password-file", file).expect(exitDenied, "credentials")
	assert.NotContains(t, r.err, "wrong")
	s.run("", "ping", "--password-file", file).expect(exitUsage, "needs --user")
	s.run("", "ping", "--user", "ann", "--password-file", file+"-no").expect(exitUsage, "no such file")
	require.NoError(t, os.WriteFile(file, []byte("\nsecond\n"), 0o600))
	s.run("", "ping", "--user", "ann", "--password-file", file).expect(exitUsage, "is empty")
}

func TestNothingIsPrintedOfAPasswordWhenVerbose(t *testing.T) {
	t.Parallel()
	server := estest.Run(t, estest.WithUser("ann", "correct-horse"))
	s := on(t, server)
	s.url = strings.Replace(s.url, "admin:changeit", "ann:correct-horse", 1)
	r := s.run("", "ping", "-v").expect(exitOK, "connected")
	assert.NotContains(t, r.err, "horse")
}

func TestTheCommandLineIsRefusedWithAStatus(t *testing.T) {
	t.Parallel()
	s := target{t, "tcp://127.0.0.1:1"}
	for said, args := range map[string][]string{
		`unknown command "pong"`:                       {"pong"},
		`unknown flag: --nope`:                         {"ping", "--nope"},
		`unknown command "clear"`:                      {"meta", "clear"},
		`meta is not complete`:                         {"meta"},
		`accepts 1 arg(s)`:                             {"read"},
		`usage: esctl group show STREAM GROUP [flags]`: {"group", "show", "orders"},
		`needs --backward`:                             {"read", "orders", "--from", "end"},
		`nothing to change`:                            {"group", "update", "orders", "mail"},
		`--timeout must be`:                            {"ping", "--timeout", "0s"},
		`--count must not`:                             {"read", "orders", "--count=-1"},
		`--no-ack is for --group`:                      {"tail", "orders", "--no-ack"},
		`a group knows where`:                          {"tail", "orders", "--group", "g", "--from", "1"},
		`invalid syntax`:                               {"read", "orders", "--count", "many"},
		`invalid configuration`:                        {"ping", "--url", "tcp://host?nonsense=1"},
		`unknown command "a\x1b["`:                     {"a\x1b["},
	} {
		r := s.run("", args...)
		assert.Equal(t, exitUsage, r.code, "%v: %s", args, r.err)
		assert.Contains(t, r.err, said, args)
		assert.Empty(t, r.out)
	}
	s.url = ""
	s.run("", "ping").expect(exitUsage, "which server?")
}

func TestNoConnectionHasAStatus(t *testing.T) {
	t.Parallel()
	s := target{t, "tcp://admin:changeit@127.0.0.1:1"}
	for _, args := range [][]string{{"ping"}, {"read", "orders"}, {"tail", "orders"}, {"groups"}, {"gossip"}} {
		r := s.run("", append(args, "--timeout", "200ms")...).expect(exitUnreachable, "esctl: ")
		assert.NotContains(t, r.err, "esclient: ")
	}
}

func TestAPersonSeesWhyNothingHappens(t *testing.T) {
	t.Parallel()
	s := target{t, "tcp://admin:changeit@127.0.0.1:1"}
	r := s.run("", "ping", "--timeout", "2s").expect(exitUnreachable, "connection refused; trying again")
	assert.Equal(t, 1, strings.Count(r.err, "trying again"))
}

func TestTheVersionIsPrinted(t *testing.T) {
	t.Parallel()
	assert.Regexp(t, `^esctl version \S+\n$`, target{t, ""}.ok("--version").out)
}

// A server that falls silent must not keep a script for ever.
func TestASilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	write(t, server, "orders", 1)
	server.Intercept(estest.AnyOperation, estest.Drop())
	s := on(t, server)
	s.run("", "read", "orders", "--timeout", "300ms").expect(exitUnreachable, "no answer within --timeout")
	s.run("", "meta", "get", "orders", "--timeout", "300ms").expect(exitUnreachable, "no answer within --timeout")
}

func TestCompletionIsGenerated(t *testing.T) {
	t.Parallel()
	s := target{t, ""}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		assert.Contains(t, s.ok("completion", shell).out, "esctl")
	}
	assert.Contains(t, s.run("", "__complete", "pa").out, "parked\t")
}
