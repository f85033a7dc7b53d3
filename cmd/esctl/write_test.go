package main

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestPublishAppendsTheLines(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		var input strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&input, "{\"n\": %d}\n", i)
		}
		r := s.run(input.String(), "publish", "orders", "--type", "placed", "--metadata", `{"by":"ann"}`, "--json")
		published := one[publishedJSON](r.expect(exitOK, ""))
		assert.Equal(t, int64(1000), published.Written)
		assert.Equal(t, int64(0), published.First)
		assert.Equal(t, int64(999), published.Last)
		events := decode[eventJSON](s.ok("read", "orders", "--json"))
		require.Len(t, events, 1000)
		for i, e := range events {
			require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, i), string(e.Data))
			require.JSONEq(t, `{"by":"ann"}`, string(e.Metadata))
			require.Equal(t, "placed", e.Type)
		}
		r = s.run("{}", "publish", "orders", "--type", "placed").expect(exitOK, "")
		assert.Equal(t, "1 event written to orders, number 1000\n", r.out)
		r = s.run("", "publish", "orders", "--type", "placed").expect(exitOK, "")
		assert.Equal(t, "0 events written to orders\n", r.out)
	})
}

func TestAReadMessageIsPublishedUnchanged(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		_, err := server.Append("odd",
			estest.Event{Type: "binary", Data: []byte{0xff, 0}, Metadata: []byte{0xfe}},
			estest.Event{Type: "text", Data: []byte("a\x1b\nb"), Metadata: []byte(`{"by":"ann"}`)},
			estest.Event{Type: "json", Data: []byte(`{"big":12345678901234567890,"a":"<&>"}`), JSON: true},
			estest.Event{Type: "broken", Data: []byte(`{`), JSON: true},
			estest.Event{Type: "empty"},
		)
		require.NoError(t, err)
		s.run(s.ok("read", "odd", "--json").out, "publish", "copy").expect(exitOK, "")
		want, err := server.Read("odd", 0, 10)
		require.NoError(t, err)
		got, err := server.Read("copy", 0, 10)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range want {
			assert.Equal(t, want[i].ID, got[i].ID)
			assert.Equal(t, want[i].Type, got[i].Type)
			assert.Equal(t, want[i].JSON, got[i].JSON)
			assert.Equal(t, string(want[i].Data), string(got[i].Data))
			assert.Equal(t, string(want[i].Metadata), string(got[i].Metadata))
		}
	})
}

func TestPublishNamesTheLineThatFailed(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	s := on(t, server)
	for input, said := range map[string]string{
		"{}\n{}\n{\n{}\n": "line 3: is not JSON; with --text it need not be",
		"{}\n{}\n\n":      "line 3: is empty",
	} {
		r := s.run(input, "publish", "orders", "--type", "placed", "--json").expect(exitUsage, said)
		assert.Contains(t, r.err, "lines 1 to 2 are written, no other is: go on with --from-line 3")
		assert.Equal(t, int64(2), one[publishedJSON](r).Written)
	}
	for line, said := range map[string]string{
		`{"data":1}`:                               "line 1: ",
		`{"type":"t","dat":1}`:                     `unknown field "dat"`,
		`{"type":"t"} {}`:                          "more than one",
		`{"type":"t","id":"x"}`:                    "no UUID",
		`{"type":"t","data":1,"data_text":"1"}`:    "data: is there in more than one form",
		`{"type":"t","content_type":"xml"}`:        "neither json nor binary",
		`{"type":"t","data_base64":"` + "!" + `"}`: "no event in JSON",
	} {
		r := s.run(line, "publish", "nothing").expect(exitUsage, said)
		assert.Contains(t, r.err, "no line is written", line)
		assert.Empty(t, r.out, line)
	}
	s.run("", "read", "nothing").expect(exitNotFound, "does not exist")

	// The first line of the rest counts on.
	r := s.run("{}\n{}\n{}\nx\n", "publish", "orders", "--type", "t", "--from-line", "3").expect(exitUsage, "line 4: ")
	assert.Contains(t, r.err, "line 3 is written, no other is: go on with --from-line 4")
	s.run("x y\n", "publish", "text", "--type", "t", "--text").expect(exitOK, "")
	assert.Equal(t, "x y", one[eventJSON](s.ok("read", "text", "--json")).DataText)
}

func TestTheExpectedVersionIsKept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, _ *estest.Server) {
		publish := func(expected string) result {
			return s.run("{}\n", "publish", "orders", "--type", "placed", "--expect", expected)
		}
		publish("none").expect(exitOK, "")
		publish("none").expect(exitConflict, "no line is written")
		publish("0").expect(exitOK, "")
		publish("5").expect(exitConflict, "version")
		publish("exists").expect(exitOK, "")
		publish("soon").expect(exitUsage, `"soon" is none of any`)
	})
}

// withOpenInput runs the command with an input that stays open, until the command ends by itself.
func (s target) withOpenInput(input string, args ...string) result {
	s.t.Helper()
	cmd := s.command(args...)
	in, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(s.t, cmd.Start())
	_, err = io.WriteString(in, input)
	require.NoError(s.t, err)
	_ = cmd.Wait() // the status is looked at
	return result{s.t, out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func TestAFailedAppendDoesNotWaitForMoreInput(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	s := on(t, server)
	r := s.withOpenInput("{}\n", "publish", "orders", "--type", "placed", "--expect", "7")
	r.expect(exitConflict, "no line is written")
}

// The server writes, and its reply is lost with the connection: another node may lead, or it was restarted.
func TestAnUnknownOutcomeHasItsOwnStatus(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 1)
		server.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()))
		r := s.run("{}\n{}\n", "publish", "orders", "--type", "placed", "--expect", "exists", "--json")
		r.expect(exitUnknown, "the outcome of the write is unknown")
		published := one[publishedJSON](r)
		assert.Zero(t, published.Written)
		assert.Positive(t, published.Unknown)
		assert.Contains(t, r.err, "may be, all of them or none, and no other is")
	})
}

func TestAnInterruptedPublishReportsTheWrittenMessages(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	s := on(t, server)
	cmd := s.command("publish", "orders", "--type", "placed", "--json")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, "{}\n{}\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		events, _ := server.Read("orders", 0, 10)
		return len(events) == 2
	}, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait() // the status is looked at
	r := result{t, out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	r.expect(exitInterrupted, "lines 1 to 2 are written, no other is: go on with --from-line 3")
	assert.Equal(t, int64(2), one[publishedJSON](r).Written)
}

func TestMetadataIsChangedInPart(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, _ *estest.Server) {
		get := func() metaJSON { return one[metaJSON](s.ok("meta", "get", "orders", "--json")) }
		assert.Equal(t, metaJSON{"orders", -1, []byte("{}")}, get())
		assert.Equal(t, "version 0\n", s.ok("meta", "set", "orders", "--max-count", "5", "--max-age", "24h").out)
		s.run(`{"$maxCount":5,"$maxAge":86400,"owner":"ann"}`, "meta", "set", "orders").expect(exitOK, "")
		s.ok("meta", "set", "orders", "--max-age", "0", "--truncate-before", "7")
		assert.Equal(t, int64(2), get().Version)
		assert.JSONEq(t, `{"$maxCount":5,"$tb":7,"owner":"ann"}`, string(get().Metadata))
		assert.Contains(t, s.ok("meta", "get", "orders").out, "version 2\n{\n  ")

		s.run("", "meta", "set", "orders", "--max-count", "1", "--expect", "0").expect(exitConflict, "version")
		s.run(`{"$maxCount":"many"}`, "meta", "set", "orders").expect(exitUsage, "standard input is no metadata")
		s.run(`[]`, "meta", "set", "orders").expect(exitUsage, "standard input is no metadata")
		s.run("", "meta", "set", "orders", "--max-count=-1").expect(exitUsage, "axCount")
		assert.Equal(t, int64(2), get().Version)
	})
}

func TestStreamsAreDeletedWhenSomebodyConfirms(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		write(t, server, "orders", 3)
		s.run("y\n", "delete", "orders").expect(exitUnconfirmed, "give --yes")
		s.run("", "delete", "orders", "--yes", "--expect", "7").expect(exitConflict, "version")
		s.ok("read", "orders")
		if !strings.HasSuffix(t.Name(), "4.1.4") && !strings.HasSuffix(t.Name(), "5.0.11") { // these delete it
			s.run("", "delete", "nothing", "--yes").expect(exitNotFound, "does not exist")
		}
		assert.Equal(t, "deleted orders\n", s.ok("delete", "orders", "--yes").out)
		s.run("", "read", "orders").expect(exitNotFound, "does not exist")
		write(t, server, "orders", 1)
		deleted := one[deletedJSON](s.ok("delete", "orders", "--hard", "-y", "--json"))
		assert.True(t, deleted.Hard)
		s.run("", "read", "orders").expect(exitNotFound, "deleted")
		s.run("{}", "publish", "orders", "--type", "t").expect(exitNotFound, "deleted")
	})
}

func TestADeleteWithoutAReplyIsUnknown(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	write(t, server, "orders", 3)
	server.Intercept(esproto.CmdDeleteStream, estest.Unanswered(estest.Disconnect()))
	on(t, server).run("", "delete", "orders", "--yes").expect(exitUnknown, "the outcome of the write is unknown")
}
