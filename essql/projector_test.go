package essql_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// patience limits how long a test waits for a projector.
const patience = time.Minute

// project keeps the read model, as a program would, until ctx or the subscription ends.
func project(ctx context.Context, m model, connectionString string) error {
	store, err := essql.New(m.db, m.d.Dialect, essql.WithTable(m.d.Table))
	if err != nil {
		return err
	}
	config := subscriberConfig(connectionString, store)
	config.NackDelay, config.MaxNackDelay = time.Millisecond, 20*time.Millisecond
	config.CheckpointAfter = time.Millisecond // its saves meet those of the handler
	config.CheckpointTimeout = patience
	subscriber, err := eventstore.NewSubscriber(config, nil)
	if err != nil {
		return err
	}
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return errors.Join(err, subscriber.Close())
	}
	for msg := range messages {
		if err := m.handle(store, msg); err != nil {
			msg.Nack()
			continue
		}
		msg.Ack()
	}
	return subscriber.Close()
}

// projectorVariable makes the test's program a projector. Its value is a job in JSON.
const projectorVariable = "ESSQL_TEST_PROJECTOR"

type job struct {
	Database         database
	ConnectionString string
}

// runProjectorProcess is the projector that TestAKilledProcessLosesAndRepeatsNothing starts and kills.
func runProjectorProcess() int {
	var j job
	err := json.Unmarshal([]byte(os.Getenv(projectorVariable)), &j)
	if err == nil {
		m := model{d: j.Database}
		if m.db, err = m.d.connect(); err == nil {
			err = project(context.Background(), m, j.ConnectionString)
		}
	}
	fmt.Fprintln(os.Stderr, "the projector has ended:", err)
	return 1
}

// newProjection returns an empty read model, its table of checkpoints, and a server with n messages.
func newProjection(t *testing.T, d database, n int) (model, *estest.Server) {
	t.Helper()
	db := d.open(t)
	d.storeIn(t, db)
	srv := estest.Run(t)
	publish(t, srv, n)
	return newModel(t, d, db), srv
}

// waitFor waits until at least n messages were applied.
func (m model) waitFor(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var applied int
		query := "SELECT COUNT(*) FROM " + m.d.Table + "_applied"
		return m.db.QueryRowContext(t.Context(), query).Scan(&applied) == nil && applied >= n
	}, patience, time.Millisecond, "the read model stays behind")
}

func TestAKilledProcessLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		const rounds, each = 6, 60
		m, srv := newProjection(t, d, each)
		environment, err := json.Marshal(job{d, srv.ConnectionString()})
		require.NoError(t, err)
		for round := range rounds {
			var out bytes.Buffer
			process := exec.Command(os.Args[0])
			process.Env = append(os.Environ(), projectorVariable+"="+string(environment))
			process.Stdout, process.Stderr = &out, &out
			require.NoError(t, process.Start())
			// Some come live, and the last process applies all that is left.
			until := round*each + 1 + rand.IntN(each)
			if round > 0 {
				publish(t, srv, each)
			}
			if round == rounds-1 {
				until = rounds * each
			}
			m.waitFor(t, until)
			require.NoError(t, process.Process.Kill())
			require.Error(t, process.Wait())
			require.Empty(t, out.String())
		}
		m.requireFold(t, rounds*each)
	})
}

func TestEndedContextsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		const rounds, each = 10, 40
		m, srv := newProjection(t, d, rounds*each)
		for round := range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			process := model{d, d.open(t)}
			ended := make(chan error, 1)
			go func() { ended <- project(ctx, process, srv.ConnectionString()) }()
			if round == rounds-1 {
				m.waitFor(t, rounds*each)
			} else {
				m.waitFor(t, round*each+rand.IntN(each))
			}
			cancel()
			if err := <-ended; err != nil { // it ended while it subscribed
				require.ErrorIs(t, err, context.Canceled)
			}
		}
		m.requireFold(t, rounds*each)
	})
}

// Each process that begins takes over from the one before, which ends by itself with the next message.
func TestProcessesThatTakeOverLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		const processes, each = 5, 40
		m, srv := newProjection(t, d, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		published := 1
		owner := ""
		var last chan error
		for range processes {
			publish(t, srv, each) // the process before is busy
			process := model{d, d.open(t)}
			ended := make(chan error, 1)
			go func() { ended <- project(ctx, process, srv.ConnectionString()) }()
			owner = m.waitForOwner(t, owner)
			publish(t, srv, each)
			published += 2 * each
			if last != nil {
				select {
				case err := <-last:
					require.NoError(t, err)
				case <-time.After(patience):
					require.Fail(t, "the process before has not ended")
				}
			}
			last = ended
		}
		m.waitFor(t, published)
		cancel()
		require.NoError(t, <-last)
		m.requireFold(t, published)
	})
}

// waitForOwner waits until another process than before has the checkpoint.
func (m model) waitForOwner(t *testing.T, before string) (owner string) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := m.db.QueryRowContext(t.Context(), "SELECT owner FROM "+m.d.Table).Scan(&owner)
		return err == nil && owner != before
	}, patience, time.Millisecond, "the new process does not take over")
	return owner
}

// The connections to the database and to EventStore are lost all the time, also between a commit and its answer.
func TestLostConnectionsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d database) {
		const cuts, events, each = 60, 300, 20
		m, srv := newProjection(t, d, events)
		cutter := newCutter(t, d.address(t), cuts)
		process := model{d: d.at(t, cutter.address())}
		process.db = process.d.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- project(ctx, process, srv.ConnectionString()) }()
		published := events
		for applied := 0; applied < published || cutter.left() > 0; applied += each {
			if applied >= published { // the cutter counts the sent bytes
				publish(t, srv, each)
				published += each
			}
			m.waitFor(t, applied)
			srv.DropConnections()
		}
		m.waitFor(t, published)
		cancel()
		require.NoError(t, <-ended)
		m.requireFold(t, published)
	})
}

// A database server that is killed comes back with all that it has confirmed.
func TestAKilledDatabaseLosesAndRepeatsNothing(t *testing.T) { // not parallel: other tests use the servers
	for name, s := range map[string]struct {
		database func(*testing.T) database
		pidFile  string
	}{
		"PostgreSQL": {postgres, "WATERMILL_TEST_POSTGRES_PID_FILE"},
		"MariaDB":    {mariadb, "WATERMILL_TEST_MARIADB_PID_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			d := withTable(t, s.database(t))
			pidFile := os.Getenv(s.pidFile)
			if pidFile == "" {
				t.Skip(s.pidFile + " is not set: .ci/databases has not started the server and would not start it again")
			}
			const kills, each = 2, 60
			m, srv := newProjection(t, d, (kills+1)*each)
			process := model{d, d.open(t)}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- project(ctx, process, srv.ConnectionString()) }()
			for kill := range kills {
				m.waitFor(t, kill*each+1+rand.IntN(each))
				killServer(t, pidFile)
			}
			m.waitFor(t, (kills+1)*each)
			cancel()
			require.NoError(t, <-ended)
			m.requireFold(t, (kills+1)*each)
		})
	}
}

// killServer kills the process whose id is in the first line of a file, and waits until it is gone.
func killServer(t *testing.T, pidFile string) {
	t.Helper()
	text, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	process, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.NoError(t, process.Kill())
	require.Eventually(t, func() bool { return process.Signal(syscall.Signal(0)) != nil }, patience, time.Millisecond)
}
