//go:build soak

package eventstore_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// killCommand names the command that kills and restarts a node of a real cluster; see TestClusterSoak.
const killCommand = "WATERMILL_TEST_EVENTSTORE_KILL"

var (
	soakDisturbances = flag.Int("soak.disturbances", 100, "how often TestClusterSoak disturbs the cluster")
	soakEvery        = flag.Duration("soak.every", 3*time.Second, "the time from one disturbance to the next")
	soakPublishers   = flag.Int("soak.publishers", 100, "how many publishers there are")
	soakPace         = flag.Duration("soak.pace", 50*time.Millisecond, "the pause of a publisher after each message")
)

// TestClusterSoak runs 100 publishers and 20 consumers in 5 groups on a cluster. Every few seconds it kills the leader
// or cuts it off from the other nodes. Each message whose Publish returned nil must reach every group, in the order of
// its publisher if the group has one consumer. It may be written twice only if its outcome was unknown. A table shows
// the counts.
//
//	go test -tags soak -run TestClusterSoak -timeout 1h -v . [-soak.disturbances 20]
//
// By default it runs on an embedded cluster. WATERMILL_TEST_EVENTSTORE_URL=discover://user:password@host:port, or a
// connection string with GossipSeeds, selects a real one. List all nodes as seeds to measure elections exactly. A real
// cluster also needs WATERMILL_TEST_EVENTSTORE_KILL: a command that sh -c runs for each disturbance, with
//
//   - the number of the disturbance, from 0 on, as $1, and
//   - the leader's HTTP endpoint as gossip tells it, host:port, in the environment variable
//     WATERMILL_TEST_EVENTSTORE_LEADER; empty if gossip tells of none.
//
// It kills a node, usually the leader, starts it again, and exits with status 0 after that. It need not wait until the
// node has joined the cluster. It may take a minute. With a container for each node:
//
//	seeds=127.0.0.1:2121,127.0.0.1:2122,127.0.0.1:2123
//	export WATERMILL_TEST_EVENTSTORE_URL="GossipSeeds=$seeds; DefaultUserCredentials=admin:changeit"
//	export WATERMILL_TEST_EVENTSTORE_KILL='node=node${WATERMILL_TEST_EVENTSTORE_LEADER##*212}
//		docker compose kill $node && sleep 5 && docker compose start $node'
func TestClusterSoak(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	l := &load{
		url: undertest.Real(), publishers: *soakPublishers, consumers: []int{1, 1, 4, 6, 8}, pace: *soakPace,
		disturbances: *soakDisturbances, every: *soakEvery, recovery: 2 * time.Second,
	}
	if l.url == "" {
		cluster, err := estest.StartCluster(3)
		require.NoError(t, err)
		defer func() {
			require.NoError(t, cluster.Close())
			assert.NoError(t, goleak.Find(leaks))
		}()
		l.url, l.disturb = cluster.ConnectionString(), disturbEmbedded(t, cluster)
	} else {
		command := os.Getenv(killCommand)
		require.NotEmpty(t, command, "%s is to name the command that kills and restarts a node", killCommand)
		l.disturb = func(n int) (undo func()) { return l.disturbReal(t, command, n) }
		defer func() { assert.NoError(t, goleak.Find(leaks)) }()
	}
	l.run(t)
}

// disturbReal runs the user's command, which also restarts the node; undo waits for the command.
func (l *load) disturbReal(t testing.TB, command string, n int) (undo func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, "sh", "-c", command, "sh", strconv.Itoa(n))
	_, leader := l.leader(t)
	cmd.Env = append(os.Environ(), "WATERMILL_TEST_EVENTSTORE_LEADER="+leader)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s: %s", killCommand, out)
	}()
	return func() { <-done }
}
