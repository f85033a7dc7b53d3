package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// program is the built command.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "esctl")
	if err == nil {
		program = filepath.Join(dir, "esctl")
		var out []byte
		if out, err = exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the command:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// target is a server and how to run the command on it.
type target struct {
	t   testing.TB
	url string // EVENTSTORE_URL
}

func on(t testing.TB, server *estest.Server) target {
	return target{t, server.ConnectionString() + "?httpEndpoint=" + server.HTTPAddr()}
}

// command prepares a run. The environment has the server's address, and nothing else that matters.
func (s target) command(args ...string) *exec.Cmd {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"EVENTSTORE_URL=" + s.url, "PATH=" + os.Getenv("PATH"), "HOME=" + s.t.TempDir()}
	return cmd
}

// result is a run that has ended.
type result struct {
	t        testing.TB
	out, err string
	code     int
}

// run runs the command without a terminal.
func (s target) run(input string, args ...string) result {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		require.NoError(s.t, err)
	}
	for _, text := range []string{out.String(), errs.String()} {
		assert.NotContains(s.t, text, "changeit", "no password is printed")
	}
	return result{s.t, out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok runs the command, which must succeed and have nothing to complain of.
func (s target) ok(args ...string) result {
	s.t.Helper()
	return s.run("", args...).expect(exitOK, "")
}

// expect checks the status, and that the text on standard error contains something, or is empty.
func (r result) expect(code int, said string) result {
	r.t.Helper()
	require.Equal(r.t, code, r.code, "stdout: %s\nstderr: %s", r.out, r.err)
	if said == "" {
		require.Empty(r.t, r.err)
	}
	require.Contains(r.t, r.err, said)
	return r
}

// lines returns the lines of the output.
func (r result) lines() []string {
	return strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
}

// rows returns the cells of a table, without its head.
func (r result) rows() (rows [][]string) {
	for _, line := range r.lines()[1:] {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}

// decode reads the output of --json, one object a line.
func decode[T any](r result) (values []T) {
	r.t.Helper()
	decoder := json.NewDecoder(strings.NewReader(r.out))
	decoder.DisallowUnknownFields()
	for line := range strings.Lines(r.out) {
		var v T
		require.NoError(r.t, decoder.Decode(&v), line)
		values = append(values, v)
	}
	return values
}

// one reads the output of --json that is a single object.
func one[T any](r result) T {
	r.t.Helper()
	values := decode[T](r)
	require.Len(r.t, values, 1, r.out)
	return values[0]
}

var personas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

// onEach runs a test on a server of each version, and on the leader's side of a cluster.
func onEach(t *testing.T, test func(t *testing.T, s target, server *estest.Server)) {
	t.Helper()
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			server := estest.Run(t, estest.WithPersona(persona))
			test(t, on(t, server), server)
		})
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := estest.RunCluster(t, 3, estest.WithPersona(estest.Persona2310))
		test(t, target{t, cluster.ConnectionString()}, cluster.Node(cluster.Leader()))
	})
}

// write puts events of one type into a stream, with data {"n":0} and so on.
func write(t testing.TB, server *estest.Server, stream string, n int) {
	t.Helper()
	for i := range n {
		_, err := server.Append(stream, estest.Event{Type: "placed", Data: fmt.Appendf(nil, `{"n":%d}`, i), JSON: true})
		require.NoError(t, err)
	}
}

const (
	waitLimit = time.Minute
	waitStep  = 10 * time.Millisecond
)
