package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestPingNamesTheNode(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		assert.Contains(t, s.ok("ping").out, server.Addr()+" answers in ")
		ping := one[pingJSON](s.ok("ping", "--json"))
		assert.Equal(t, server.Addr(), ping.Node)
		assert.Positive(t, ping.RoundTripMS)
	})
}

func TestInfoShowsTheServersAnswers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		info := one[infoJSON](s.ok("info", "--json"))
		assert.Equal(t, server.Addr(), info.Node)
		assert.Equal(t, "admin", info.User)
		assert.False(t, info.TLS)
		assert.Equal(t, "Leader", info.State)
		require.NotNil(t, info.End)
		assert.Positive(t, info.End.Commit)
		require.NotNil(t, info.Filters)
		since206 := strings.HasSuffix(t.Name(), "23.10") || strings.HasSuffix(t.Name(), "cluster")
		assert.Equal(t, since206, *info.Filters)
		assert.Equal(t, since206, info.Version != "")
		assert.Contains(t, s.ok("info").out, "state       Leader\n")
	})
}

func TestAUserWithoutRightsGetsTheRestOfTheInfo(t *testing.T) {
	t.Parallel()
	server := estest.Run(t, estest.WithUser("ann", "secret"))
	s := on(t, server)
	s.url = strings.Replace(s.url, "admin:changeit", "ann:secret", 1)
	info := one[infoJSON](s.ok("info", "--json"))
	assert.Equal(t, "ann", info.User)
	assert.Nil(t, info.End)
	assert.Nil(t, info.Filters)
	assert.Contains(t, s.ok("info").out, "end of log  unknown\n")
	s.run("", "streams").expect(exitDenied, "access denied")
}

func TestGossipListsTheNodes(t *testing.T) {
	t.Parallel()
	cluster := estest.RunCluster(t, 3)
	members := decode[memberJSON](target{t, cluster.ConnectionString()}.ok("gossip", "--json"))
	require.Len(t, members, 3)
	states := make(map[string]string)
	for _, m := range members {
		assert.True(t, m.Alive)
		states[m.Node] = m.State
	}
	for i := range 3 {
		want := "Follower"
		if i == cluster.Leader() {
			want = "Leader"
		}
		assert.Equal(t, want, states[cluster.Node(i).Addr()])
	}
	single := estest.Run(t)
	rows := on(t, single).ok("gossip").rows()
	require.Len(t, rows, 1)
	assert.Equal(t, []string{single.Addr(), "Leader", "true", single.HTTPAddr()}, rows[0][:4])
}

func TestGossipOverTLS(t *testing.T) {
	t.Parallel()
	server := estest.Run(t, estest.WithTLS(), estest.WithPersona(estest.Persona2310))
	file := t.TempDir() + "/ca.pem"
	require.NoError(t, os.WriteFile(file, server.CertPEM(), 0o600))
	s := on(t, server)
	s.url += "&tlsCAFile=" + file
	assert.Equal(t, server.Addr(), one[memberJSON](s.ok("gossip", "--json")).Node)
	assert.True(t, one[infoJSON](s.ok("info", "--json")).TLS)
	assert.Len(t, s.ok("users").rows(), 2)
}

func TestStreamsAreThoseThatExist(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		client, err := esclient.Open(s.url)
		require.NoError(t, err)
		defer client.Close()
		for _, stream := range []string{"orders-1", "orders-2", "gone", "back", "tombstone", "other"} {
			write(t, server, stream, 3)
		}
		for _, stream := range []string{"gone", "back"} {
			_, err = client.DeleteStream(t.Context(), stream, esclient.Any)
			require.NoError(t, err)
		}
		_, err = client.TombstoneStream(t.Context(), "tombstone", esclient.Any)
		require.NoError(t, err)
		write(t, server, "back", 2)

		last := func(args ...string) map[string]int64 {
			found := make(map[string]int64)
			for _, stream := range decode[streamJSON](s.ok(append([]string{"streams", "--json"}, args...)...)) {
				assert.False(t, stream.Written.IsZero())
				found[stream.Stream] = stream.Last
			}
			return found
		}
		assert.Equal(t, map[string]int64{"back": 4, "orders-1": 2, "orders-2": 2, "other": 2}, last())
		assert.Equal(t, map[string]int64{"orders-1": 2, "orders-2": 2}, last("orders-"))
		assert.Empty(t, last("gone"))
		assert.Contains(t, last("--system"), "$users")
		assert.Equal(t, int64(1), last("$users")["$users"])
		assert.Equal(t, []string{"orders-1", "2"}, s.ok("streams", "orders-1").rows()[0][:2])
	})
}

func TestReadPrintsAStream(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 7)
		numbers := func(args ...string) (n []int64) {
			for _, e := range decode[eventJSON](s.ok(append([]string{"read", "orders", "--json"}, args...)...)) {
				assert.Equal(t, "orders", e.Stream)
				assert.Equal(t, "json", e.ContentType)
				n = append(n, e.Number)
			}
			return n
		}
		assert.Equal(t, []int64{0, 1, 2, 3, 4, 5, 6}, numbers())
		assert.Equal(t, []int64{5, 6}, numbers("--from", "5"))
		assert.Equal(t, []int64{6}, numbers("--from", "after:5"))
		assert.Equal(t, []int64{0, 1}, numbers("--count", "2", "--from", "start"))
		assert.Equal(t, []int64{6, 5}, numbers("--backward", "--count", "2"))
		assert.Equal(t, []int64{3, 2}, numbers("--backward", "--count", "2", "--from", "3"))
		lines := s.ok("read", "orders").lines()
		require.Len(t, lines, 7)
		assert.Regexp(t, `^orders/0 placed 2\S+Z \{"n":0\}$`, lines[0])
	})
}

func TestReadAllGivesPositionsToGoOnFrom(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 3)
		all := decode[eventJSON](s.ok("read", "$all", "--json"))
		require.GreaterOrEqual(t, len(all), 3)
		first := all[len(all)-3]
		require.Equal(t, "orders", first.Stream)
		rest := decode[eventJSON](s.ok("read", "$all", "--json", "--from", "after:"+first.Position.String()))
		require.Len(t, rest, 2)
		assert.Equal(t, int64(1), rest[0].Number)
	})
}

func TestReadResolvesLinks(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 2)
		_, err := server.Append("links", estest.Event{Type: "$>", Data: []byte("1@orders")})
		require.NoError(t, err)
		link := one[eventJSON](s.ok("read", "links", "--json"))
		assert.Equal(t, "$>", link.Type)
		assert.Equal(t, "1@orders", link.DataText)
		event := one[eventJSON](s.ok("read", "links", "--json", "--resolve"))
		assert.Equal(t, int64(1), event.Number)
		assert.JSONEq(t, `{"n":1}`, string(event.Data))
		require.NotNil(t, event.Link)
		assert.Equal(t, linkJSON{"links", 0, link.ID}, *event.Link)
		assert.Contains(t, s.ok("read", "links", "--resolve").out, "orders/1 placed ")
	})
}

func TestDataIsPrintedWithoutLossAndWithoutHarm(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	s := on(t, server)
	_, err := server.Append("odd",
		estest.Event{Type: "binary", Data: []byte{0xff, 0}},
		estest.Event{Type: "text", Data: []byte("a\x1b[31m\nb"), Metadata: []byte(`{"by": "ann"}`)},
		estest.Event{Type: "<json>", Data: []byte(`{"big": 12345678901234567890, "a": "<&>"}`), JSON: true},
		estest.Event{Type: "broken", Data: []byte(`{`), JSON: true},
		estest.Event{Type: "empty"},
	)
	require.NoError(t, err)
	r := s.ok("read", "odd", "--json")
	events := decode[eventJSON](r)
	assert.Equal(t, []byte{0xff, 0}, events[0].DataBase64)
	assert.Equal(t, "a\x1b[31m\nb", events[1].DataText)
	assert.Equal(t, json.RawMessage(`{"by":"ann"}`), events[1].Metadata)
	assert.Contains(t, r.out, `"type":"<json>"`)
	assert.Equal(t, json.RawMessage(`{"big":12345678901234567890,"a":"<&>"}`), events[2].Data)
	assert.Equal(t, "{", events[3].DataText)
	assert.Equal(t, payloadJSON{}, events[4].payloadJSON)

	text := s.ok("read", "odd", "--metadata").lines()
	require.Len(t, text, 5)
	assert.Contains(t, text[0], "(2 bytes)")
	assert.Contains(t, text[1], `a\x1b[31m\nb meta={"by":"ann"}`)
}

func TestFailedReadsHaveAStatus(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, _ *estest.Server) {
		s.run("", "read", "nothing").expect(exitNotFound, "does not exist")
		s.run("", "group", "show", "nothing", "here").expect(exitNotFound, "does not exist")
		s.run("", "users", "show", "nobody").expect(exitNotFound, "does not exist")
		s.run("", "read", "orders", "--from", "soon").expect(exitUsage, `--from "soon"`)
		s.run("", "read", "orders", "--from", "C:1/P:1").expect(exitUsage, "esctl: ")
		s.run("", "read", "").expect(exitUsage, "stream")
	})
}

// follow starts a tail and returns its lines.
func follow(t *testing.T, s target, args ...string) (lines *bufio.Scanner, interrupt func() result) {
	t.Helper()
	cmd := s.command(args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs strings.Builder
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	return bufio.NewScanner(out), func() result {
		t.Helper()
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		_ = cmd.Wait() // the status is looked at
		return result{t, "", errs.String(), cmd.ProcessState.ExitCode()}
	}
}

func TestTailFollowsAStreamUntilCtrlC(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 2)
		lines, interrupt := follow(t, s, "tail", "orders", "--from", "start")
		for i := range 4 {
			if i == 2 {
				write(t, server, "orders", 2)
			}
			require.True(t, lines.Scan())
			assert.Contains(t, lines.Text(), "orders/"+string(rune('0'+i))+" placed")
		}
		interrupt().expect(exitOK, "go on with --from after:3\n")
		assert.False(t, lines.Scan())
	})
}

func TestTailBeginsAtTheEnd(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 2)
		lines, interrupt := follow(t, s, "tail", "orders", "--json")
		require.Eventually(t, func() bool { return server.Stats().Subscriptions == 1 }, time.Minute, time.Millisecond)
		write(t, server, "orders", 1)
		require.True(t, lines.Scan())
		assert.Contains(t, lines.Text(), `"number":2`)
		interrupt().expect(exitOK, "after:2")
	})
}

func TestTailFiltersAllOnEveryVersion(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders-1", 1)
		write(t, server, "bills-1", 1)
		write(t, server, "orders-2", 1)
		r := s.run("", "tail", "$all", "--from", "start", "--count", "2", "--json", "--filter-stream", "orders-")
		r.expect(exitOK, "go on with --from after:C:")
		events := decode[eventJSON](r)
		require.Len(t, events, 2)
		assert.Equal(t, "orders-2", events[1].Stream)
		r = s.run("", "tail", "$all", "--from", "start", "--count", "3", "--json", "--filter-type", "pla")
		assert.Len(t, decode[eventJSON](r.expect(exitOK, "after:C:")), 3)
		s.run("", "tail", "orders-1", "--filter-type", "x").expect(exitUsage, "filters are for $all")
	})
}

func TestABrokenPipeIsNoFailureToTellOf(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	for range 20 {
		write(t, server, "orders", 500)
	}
	s := on(t, server)
	cmd := s.command("read", "orders")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs strings.Builder
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.NoError(t, out.Close())
	require.Error(t, cmd.Wait())
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	assert.Equal(t, syscall.SIGPIPE, status.Signal(), "as for other programs")
	assert.Empty(t, errs.String())
}
