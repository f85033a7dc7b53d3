package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestGroupsAreCreatedChangedAndDeleted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 1)
		assert.Equal(t, "created group mail of stream orders\n",
			s.ok("group", "create", "orders", "mail", "--start-from", "0", "--max-retries", "3").out)
		s.run("", "group", "create", "orders", "mail").expect(exitConflict, "exists already")
		show := func() groupInfoJSON { return one[groupInfoJSON](s.ok("group", "show", "orders", "mail", "--json")) }
		before := show()
		assert.Equal(t, 3, before.Settings.MaxRetryCount)
		assert.Equal(t, int64(30000), before.Settings.MessageTimeout)

		s.ok("group", "update", "orders", "mail", "--message-timeout", "1m", "--strategy", "Pinned")
		want := before.Settings
		want.MessageTimeout, want.Strategy = 60000, "Pinned"
		assert.Equal(t, want, show().Settings, "the others stay as they are")
		assert.Contains(t, s.ok("group", "show", "orders", "mail").out, "--message-timeout    1m0s\n")
		s.run("", "group", "update", "orders", "nobody", "--buffer", "9").expect(exitNotFound, "does not exist")
		s.run("", "group", "create", "orders", "odd", "--read-batch", "0").expect(exitUsage, "esctl: ")

		assert.Equal(t, []string{"orders", "mail"}, s.ok("groups").rows()[0][:2])
		assert.Equal(t, "mail", one[groupJSON](s.ok("groups", "orders", "--json")).Group)
		s.run("", "groups", "bills").expect(exitNotFound, "does not exist")

		s.run("", "group", "delete", "orders", "mail").expect(exitUnconfirmed, "give --yes")
		s.ok("group", "delete", "orders", "mail", "--yes")
		s.run("", "group", "delete", "orders", "mail", "--yes").expect(exitNotFound, "does not exist")
		assert.Empty(t, s.ok("groups", "--json").out)
	})
}

func TestASubscriberAcksWhatItHasPrinted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 5)
		s.ok("group", "create", "orders", "mail", "--start-from", "0")
		numbers := func(args ...string) (n []int64) {
			args = append([]string{"tail", "orders", "--group", "mail", "--json", "--timeout", "30s"}, args...)
			for _, e := range decode[eventJSON](s.ok(args...)) {
				n = append(n, e.Number)
			}
			return n
		}
		assert.ElementsMatch(t, []int64{0, 1}, numbers("--count", "2", "--no-ack"))
		assert.ElementsMatch(t, []int64{0, 1, 2}, numbers("--count", "3"))
		assert.ElementsMatch(t, []int64{3, 4}, numbers("--count", "2"))
		s.run("", "tail", "orders", "--group", "nobody").expect(exitNotFound, "does not exist")
	})
}

func TestLagCountsUnsettledEvents(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 5)
		s.ok("group", "create", "orders", "all", "--start-from", "0")
		s.ok("group", "create", "orders", "late", "--start-from", "3")
		s.ok("group", "create", "orders", "new")
		s.ok("group", "create", "later", "early", "--start-from", "0")
		lags := make(map[string]int64)
		for _, lag := range decode[lagJSON](s.ok("lag", "--json")) {
			lags[lag.Group] = lag.Lag
		}
		assert.Equal(t, map[string]int64{"all": 5, "late": 2, "new": -1, "early": 0}, lags)
		assert.Len(t, s.ok("lag", "orders", "--max", "5").rows(), 3)
		r := s.run("", "lag", "orders", "--max", "4").expect(exitOverLimit, "more than --max")
		assert.Len(t, r.rows(), 3)

		// Once a checkpoint is written, the lag is behind that.
		s.ok("group", "update", "orders", "all", "--checkpoint-max", "1", "--checkpoint-min", "1")
		s.ok("tail", "orders", "--group", "all", "--count", "5")
		require.Eventually(t, func() bool {
			for _, lag := range decode[lagJSON](s.ok("lag", "orders", "--json")) {
				if lag.Group == "all" {
					return lag.Lag == 0 && lag.Checkpoint == 4
				}
			}
			return false
		}, waitLimit, waitStep)
	})
}

// park has a group park some events.
func park(t *testing.T, s target, stream, group string, n int) {
	t.Helper()
	client, err := esclient.Open(s.url)
	require.NoError(t, err)
	defer client.Close()
	sub, err := client.ConnectPersistent(t.Context(), stream, group, esclient.PersistentOptions{})
	require.NoError(t, err)
	for range n {
		event, err := sub.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, sub.Nack(esclient.NackPark, "no such customer", event))
	}
	require.NoError(t, sub.Stop(t.Context()))
}

func TestParkedEventsAreShownAndReplayed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 3)
		s.ok("group", "create", "orders", "mail", "--start-from", "0")
		park(t, s, "orders", "mail", 3)
		parked := func() int64 { return one[parkedJSON](s.ok("parked", "ls", "--json")).Parked }
		require.Eventually(t, func() bool { return parked() == 3 }, waitLimit, waitStep)
		assert.Equal(t, [][]string{{"orders", "mail", "3"}}, s.ok("parked", "ls", "orders").rows())

		events := decode[parkedEventJSON](s.ok("parked", "show", "orders", "mail", "--json"))
		require.Len(t, events, 3)
		for i, e := range events {
			assert.Contains(t, e.Reason, "no such customer")
			assert.Equal(t, "orders", e.Event.Stream)
			assert.Equal(t, int64(i), e.Event.Number)
		}
		assert.Regexp(t, `^orders/0 placed parked \S+ because ".*no such customer": \{"n":0\}$`,
			s.ok("parked", "show", "orders", "mail").lines()[0])

		s.run("", "parked", "replay", "orders", "mail").expect(exitUnconfirmed, "give --yes")
		if strings.HasSuffix(t.Name(), "4.1.4") || strings.HasSuffix(t.Name(), "5.0.11") {
			s.run("", "parked", "replay", "orders", "mail", "--limit", "2", "-y").
				expect(exitUnsupported, "not supported")
		} else {
			s.ok("parked", "replay", "orders", "mail", "--limit", "2", "-y")
			assert.Len(t, decode[eventJSON](s.ok("tail", "orders", "--group", "mail", "--count", "2", "--json")), 2)
			require.Eventually(t, func() bool { return parked() == 1 }, waitLimit, waitStep)
		}
		assert.Equal(t, "group mail of stream orders delivers its parked events again\n",
			s.ok("parked", "replay", "orders", "mail", "-y").out)
		s.run("", "parked", "replay", "orders", "nobody", "-y").expect(exitNotFound, "does not exist")
	})
}

func TestUsersAreManaged(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, _ *estest.Server) {
		file := filepath.Join(t.TempDir(), "password")
		password := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o600)) }
		password("battery-staple")
		create := []string{"users", "create", "ann", "--name", "Ann", "--group", "writers", "--new-password-file", file}
		s.run("", create...).expect(exitUnconfirmed, "give --yes")
		assert.Equal(t, "user ann created\n", s.ok(append(create, "--yes")...).out)
		user := func() userJSON { return one[userJSON](s.ok("users", "show", "ann", "--json")) }
		assert.Equal(t, userJSON{"ann", "Ann", []string{"writers"}, false}, user())
		s.ok("ping", "--user", "ann", "--password-file", file)

		s.ok("users", "update", "ann", "--group", "$ops", "--yes")
		assert.Equal(t, userJSON{"ann", "Ann", []string{"$ops"}, false}, user())
		s.ok("users", "disable", "ann", "--yes")
		assert.True(t, user().Disabled)
		s.run("", "ping", "--user", "ann", "--password-file", file).expect(exitDenied, "credentials")
		s.ok("users", "enable", "ann", "--yes")

		// The user itself, and an administrator.
		old := filepath.Join(t.TempDir(), "old")
		require.NoError(t, os.WriteFile(old, []byte("battery-staple\n"), 0o600))
		password("next-staple")
		s.ok("users", "passwd", "ann", "--user", "ann", "--password-file", old, "--new-password-file", file, "--yes")
		asAnn := []string{"--user", "ann", "--password-file", file}
		r := s.run("", append(asAnn, "users", "passwd", "admin", "--new-password-file", old, "-y")...)
		r.expect(exitDenied, "401 Unauthorized")
		s.ok("users", "passwd", "ann", "--new-password-file", old, "--yes")
		s.ok("ping", "--user", "ann", "--password-file", old)

		s.run("", append(create, "--yes")...).expect(exitConflict, "exists already")
		s.ok("users", "delete", "ann", "--yes")
		r = s.run("", "users", "delete", "ann", "--yes").expect(exitNotFound, "does not exist")
		assert.NotContains(t, r.err, "msgTypeId", "the server's answer in JSON")
		s.run("", "users", "create", "bob", "--yes").expect(exitUsage, "no terminal")
	})
}
