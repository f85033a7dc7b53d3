package estest_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// categoryLinks are the links that $ce-order must have when a stream of that category has n events.
func categoryLinks(stream string, n int) []string {
	links := make([]string, n)
	for i := range links {
		links[i] = strconv.Itoa(i) + "@" + stream
	}
	return links
}

func TestProjectionsAreHeldBack(t *testing.T) {
	for _, version := range personas {
		s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
		s.PauseProjections()
		p := connectAs(t, s, admin)
		p.mustAppend(nil, "order-1", newEvent("Placed", "a"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		assert.ErrorIs(t, s.WaitForProjections(ctx), context.DeadlineExceeded)
		cancel()
		assert.Equal(t, esproto.ReadStreamEventsCompleted_NoStream, p.read(nil, "$ce-order", 0, 10, true).GetResult())

		s.ResumeProjections()
		assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
		s.PauseProjections()
		await(t, s) // there is nothing to wait for
	}
}

func TestWaitingForProjectionsThatAreNotThere(t *testing.T) {
	assert.ErrorIs(t, estest.Run(t).WaitForProjections(t.Context()), estest.ErrNoProjections)

	s := estest.Run(t, estest.WithProjections())
	s.PauseProjections()
	appendTo(t, s, "order-1", "Placed")
	ended := make(chan error, 1)
	go func() { ended <- s.WaitForProjections(context.Background()) }()
	require.NoError(t, s.Close())
	assert.ErrorContains(t, <-ended, "closed")
	assert.ErrorContains(t, s.WaitForProjections(t.Context()), "closed")
}

// Projections use the time of the system, so a clock that stands still does not stop them.
func TestProjectionsWithAClock(t *testing.T) {
	s := estest.Run(t, estest.WithProjections(), estest.WithClock(estest.NewClock(time.Time{})))
	appendTo(t, s, "order-1", "Placed")
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
}

func TestProjectionsBeginWhenTheServerIsReady(t *testing.T) {
	clock := estest.NewClock(time.Time{})
	s := estest.Run(t, estest.WithProjections(), estest.WithClock(clock), estest.WithStartUp(time.Minute, 0))
	appendTo(t, s, "order-1", "Placed")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, s.WaitForProjections(ctx), context.DeadlineExceeded)
	clock.Advance(time.Minute)
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
}

// The test appends while the server goes down and up, so the time of each link is random.
func TestProjectionsGoOnInTheNextProcess(t *testing.T) {
	for name, again := range map[string]func(*estest.Server) error{
		"restart": (*estest.Server).Restart, "crash": (*estest.Server).Crash,
	} {
		t.Run(name, func(t *testing.T) {
			s := estest.Run(t, estest.WithProjections())
			const events, processes = 300, 5
			var wg sync.WaitGroup
			wg.Go(func() {
				for range events {
					appendTo(t, s, "order-1", "Placed")
				}
			})
			for range processes {
				assert.NoError(t, again(s))
			}
			wg.Wait()
			for _, stream := range []string{"$ce-order", "$et-Placed"} {
				assert.Equal(t, categoryLinks("order-1", events), linksOf(t, s, stream))
			}
			assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$streams"))
		})
	}
}

// After 4000 events there is a checkpoint, from which the next process goes on.
func TestProjectionsGoOnFromACheckpoint(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	const events = 4500
	batch := make([]estest.Event, events)
	for i := range batch {
		batch[i] = estest.Event{Type: "Placed"}
	}
	_, err := s.Append("order-1", batch...)
	require.NoError(t, err)
	await(t, s)
	marked, err := s.Read("order-1", 3999, 1)
	require.NoError(t, err)
	checkpoints, err := s.Read("$projections-$by_category-checkpoint", 0, 0)
	require.NoError(t, err)
	require.Len(t, checkpoints, 1)
	assert.Equal(t, "$ProjectionCheckpoint", checkpoints[0].Type)
	assert.Equal(t, "[]", string(checkpoints[0].Data))
	assert.JSONEq(t, fmt.Sprintf(`{"$v":"3:-1:1:3","$c":%d,"$p":%d}`, marked[0].Commit, marked[0].Prepare),
		string(checkpoints[0].Metadata))
	metadata, err := s.Read("$$$projections-$by_category-checkpoint", 0, 0)
	require.NoError(t, err)
	acl := `{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$all","$mw":"$admins"}`
	assert.JSONEq(t, `{"$maxCount":2,"$acl":`+acl+`}`, string(metadata[0].Data))

	s.PauseProjections()
	appendTo(t, s, "order-1", "Placed")
	require.NoError(t, s.Crash())
	s.ResumeProjections()
	assert.Equal(t, categoryLinks("order-1", events+1), linksOf(t, s, "$ce-order"))
	index, err := s.Read("$et", 0, 0)
	require.NoError(t, err)
	assert.Len(t, index, 3, "at the start, at the checkpoint, at the second start")
	assert.JSONEq(t, `{"$c":0,"$p":-1}`, string(index[0].Data))
	assert.JSONEq(t, fmt.Sprintf(`{"$c":%d,"$p":%d}`, marked[0].Commit, marked[0].Prepare), string(index[1].Data))
}

// A new leader continues from the last leader's position, with nothing lost and nothing doubled.
func TestProjectionsOfOneLeaderAfterAnother(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithProjections(), estest.WithElectionDelay(time.Millisecond))
	appended := 0
	write := func(n int) {
		for range n {
			require.Eventually(t, func() bool {
				l := c.Leader()
				if l < 0 {
					return false
				}
				_, err := c.Node(l).Append("order-1", estest.Event{Type: "Placed"})
				return err == nil
			}, 10*time.Second, time.Millisecond)
			appended++
		}
	}
	for round := range 8 {
		write(20)
		switch l := c.Leader(); round % 4 {
		case 0:
			require.NoError(t, c.Elect((l+1)%3))
		case 1:
			require.NoError(t, c.Kill(l))
			write(5)
			require.NoError(t, c.Restart(l))
		case 2:
			c.Partition(l)
			write(5)
			c.Heal()
		case 3:
			require.NoError(t, c.Restart(l))
		}
	}
	write(1)
	for n := range 3 {
		assert.Equal(t, categoryLinks("order-1", appended), linksOf(t, c.Node(n), "$ce-order"))
		assert.Equal(t, categoryLinks("order-1", appended), linksOf(t, c.Node(n), "$et-Placed"))
	}
}

// A leader that reaches no majority acknowledges nothing, and links nothing.
func TestProjectionsWithoutAMajority(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithProjections(), estest.WithStepDownDelay(time.Hour))
	c.Node(0).PauseProjections()
	appendTo(t, c.Node(0), "order-1", "Placed")
	c.Partition(1)
	c.Partition(2)
	c.Node(0).ResumeProjections()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, c.Node(0).WaitForProjections(ctx), context.DeadlineExceeded)
	_, err := c.Node(0).Read("$ce-order", 0, 0)
	assert.ErrorIs(t, err, estest.ErrNoStream)
	c.Heal()
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, c.Node(0), "$ce-order"))
}

// A subscription to the links gets them in their order, however many write.
func TestASubscriptionToLinks(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	const writers, each = 4, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				appendTo(t, s, "order-"+strconv.Itoa(w), "Placed")
			}
		})
	}
	wg.Wait()
	links := linksOf(t, s, "$ce-order")
	assert.Len(t, links, writers*each)
	next := make(map[string]int)
	for _, link := range links {
		var number int
		var stream string
		_, err := fmt.Sscanf(link, "%d@%s", &number, &stream)
		require.NoError(t, err)
		assert.Equal(t, next[stream], number, stream)
		next[stream]++
	}
	assert.Equal(t, links, linksOf(t, s, "$et-Placed"))
}
