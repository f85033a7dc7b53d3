package esclient_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// loseAndElect has a node lose the reply to the next append, and elects other leaders, one after the other, when the
// stream has that many events.
func loseAndElect(
	t *testing.T, cluster *estest.Cluster, node int, stream string, events int, leaders ...int,
) (elected <-chan struct{}) {
	t.Helper()
	cluster.Node(node).Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Drop()), estest.Times(1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.Eventually(t, func() bool {
			all, err := cluster.Node(0).Read(stream, 0, 0)
			return err == nil && len(all) == events
		}, patience, time.Millisecond)
		for _, n := range leaders {
			assert.NoError(t, cluster.Elect(n))
		}
	}()
	return done
}

// A follower forwards an append to the leader, and the next leader knows nothing of the first attempt.
func TestAForwardedAppendIsNotRepeatedOnSilence(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"configured", "by context"} {
		for _, expected := range []esclient.ExpectedVersion{
			esclient.Any, esclient.StreamExists, esclient.NoStream, 0,
		} {
			t.Run(how+", "+expected.String(), func(t *testing.T) {
				t.Parallel()
				cluster, ctx := runCluster(t), testContext(t)
				c := openWith(t, cluster.Node(2).ConnectionString(), func(cfg *esclient.Config) {
					cfg.AllowFollower, cfg.OperationTimeout = how == "configured", 200*time.Millisecond
				})
				if how == "by context" {
					ctx = esclient.WithRequireLeader(ctx, false)
				}
				stream, before := name("forwarded"), 0
				if expected != esclient.NoStream {
					_, err := c.Append(ctx, stream, esclient.Any, numbered(0, 0)...)
					require.NoError(t, err)
					before = 1
				}
				elected := loseAndElect(t, cluster, 2, stream, before+1, 1)
				_, err := c.Append(ctx, stream, expected, numbered(1, 1)...)
				<-elected
				if expected >= esclient.NoStream {
					require.NoError(t, err, "the new leader compares the ids with the stream")
				} else {
					require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
				}
				events, err := cluster.Node(1).Read(stream, 0, 0)
				require.NoError(t, err)
				assert.Len(t, events, before+1, "it is written once")
			})
		}
	}
}

// A leader forgets the event ids if another node leads in between, and its connections may outlast that.
func TestAnAppendIsNotRepeatedOnAReelectedLeader(t *testing.T) {
	cluster := runCluster(t)
	c := openWith(t, cluster.ConnectionString(), func(cfg *esclient.Config) {
		cfg.OperationTimeout = 200 * time.Millisecond
	})
	stream := name("anew")
	require.NoError(t, c.Connect(testContext(t)))
	elected := loseAndElect(t, cluster, 0, stream, 1, 1, 0)
	_, err := c.Append(testContext(t), stream, esclient.Any, numbered(1, 1)...)
	<-elected
	require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
	events, err := cluster.Node(0).Read(stream, 0, 0)
	require.NoError(t, err)
	assert.Len(t, events, 1, "it is written once")
}

// A node that is not the leader, or not yet, has forgotten the ids of appends that timed out.
func TestAnAppendIsNotRepeatedOnANodeThatDidNotLead(t *testing.T) {
	notLeader := []byte{8, byte(esproto.NotHandled_NotLeader)}
	for name, tc := range map[string]struct {
		answer   []byte
		repeated bool
	}{
		"not ready":  {[]byte{8, byte(esproto.NotHandled_NotReady)}, false},
		"not leader": {notLeader, false},
		"too busy":   {[]byte{8, byte(esproto.NotHandled_TooBusy)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			done := appendTwo(testContext(t), s.client(nil), esclient.Any)
			s.next(esproto.CmdWriteEvents).written(result(esproto.OperationResult_CommitTimeout))
			s.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, tc.answer)
			if tc.repeated {
				s.next(esproto.CmdWriteEvents).written(success)
				require.NoError(t, (<-done).err)
				return
			}
			err := (<-done).err
			require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
			assert.False(t, esclient.SafeToRetry(err))
			assert.Empty(t, s.requests)
		})
	}
}

// An election, in which no node is ready, ends no call, however long it takes.
func TestNoElectionEndsACall(t *testing.T) {
	t.Parallel()
	srv, _ := embedded(t)
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.MaxRetries = 1 })
	stream := name("election")
	appendNumbered(t, c, stream, 0, 0)
	require.NoError(t, c.CreatePersistent(testContext(t), stream, "g", esclient.DefaultPersistentSettings()))
	for what, call := range map[string]func(ctx context.Context) error{
		"append": func(ctx context.Context) error {
			_, err := c.Append(ctx, stream, esclient.Any, numbered(1, 1)...)
			return err
		},
		"read": func(ctx context.Context) error {
			_, err := c.ReadEvent(ctx, stream, 0, esclient.ReadEventOptions{})
			return err
		},
		"group": func(ctx context.Context) error {
			s, err := c.ConnectPersistent(ctx, stream, "g", esclient.PersistentOptions{})
			if err == nil {
				err = s.Stop(ctx)
			}
			return err
		},
	} {
		rule := srv.Intercept(estest.AnyOperation, estest.NotReady(), estest.Times(5))
		require.NoError(t, call(testContext(t)), what)
		assert.Equal(t, 5, rule.Hits(), what)
		rule.Remove()
	}
}
