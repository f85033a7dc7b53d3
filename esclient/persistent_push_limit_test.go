package esclient

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func limitOf(timeout time.Duration, workers, most int) pushLimit {
	return newPushLimit(&PersistentOptions{MessageTimeout: timeout, Concurrency: workers, InFlight: most})
}

func TestTheFirstWindowFitsTheTimeout(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		timeout       time.Duration
		workers, most int
		want          int
	}{
		{time.Second, 1, 10, 1},
		{10 * time.Second, 1, 10, 4},
		{30 * time.Second, 1, 10, 10},
		{30 * time.Second, 1, 100, 11},
		{time.Second, 4, 200, 4},
		{time.Millisecond, 4, 200, 4},
		{30 * time.Second, 4, 200, 44},
		{MaxMessageTimeout - 1, 1 << 10, MaxInFlight, MaxInFlight},
		{MaxMessageTimeout, 1, 10, 10}, // never
		{0, 1, 10, 10},                 // not known
		{time.Second, 0, 10, 10},       // the consumer does not say when it begins
	} {
		p := limitOf(tc.timeout, tc.workers, tc.most)
		assert.Equal(t, tc.want, p.window, "%+v", tc)
	}
}

func TestTheWindowFollowsThePace(t *testing.T) {
	t.Parallel()
	p := limitOf(time.Second, 1, 100)
	for range growAfter - 1 {
		p.took(time.Millisecond)
		assert.False(t, p.mayGrow(), "the server counts what it costs")
	}
	for range 200 { // the guess is forgotten by and by
		p.took(time.Millisecond)
	}
	assert.True(t, p.mayGrow())
	p.grow()
	assert.Equal(t, 100, p.window)
	assert.False(t, p.mayGrow())
	p.took(400 * time.Millisecond) // one that is slow counts at once
	assert.True(t, p.tooLate(450*time.Millisecond, 0), "it would time out while it is handled")
	assert.False(t, p.tooLate(450*time.Millisecond, 1), "others would be given back with it")
	assert.True(t, p.tooLate(500*time.Millisecond, 1))
	assert.Zero(t, p.shrink(0))
	assert.Equal(t, 1, p.window)
}

func TestASubscriberWithoutProgressRestsLonger(t *testing.T) {
	t.Parallel()
	p := limitOf(time.Second, 3, 100)
	assert.Zero(t, p.shrink(3), "events in process keep their places")
	assert.Equal(t, 3, p.window)
	assert.Equal(t, 500*time.Millisecond, p.shrink(2))
	assert.Equal(t, 3, p.window, "there is room for one more")
	assert.Equal(t, time.Second, p.shrink(2))
	for range 20 {
		assert.LessOrEqual(t, p.shrink(0), maxRest)
		assert.GreaterOrEqual(t, p.window, 1)
	}
	p.took(time.Second)
	assert.Zero(t, p.shrink(1))
}

func TestATimeoutIsLearntUnlessItIsKnown(t *testing.T) {
	t.Parallel()
	p := limitOf(0, 1, 10)
	p.learn(12 * time.Second)
	assert.Equal(t, 11*time.Second, p.timeout, "the server looks once a second")
	p.learn(20 * time.Second)
	assert.Equal(t, 11*time.Second, p.timeout, "the shortest counts")
	p.learn(time.Millisecond)
	assert.Equal(t, leastTimeout, p.timeout)
	p.hear(time.Minute)
	p.learn(time.Second)
	assert.Equal(t, time.Minute, p.timeout)
	p.doubt() // the settings may have changed
	p.learn(10 * time.Second)
	assert.Equal(t, 9*time.Second, p.timeout)
	p.hear(0) // which means different things
	assert.Equal(t, 9*time.Second, p.timeout)
	p.hear(MaxMessageTimeout)
	assert.False(t, p.limits())
}

func TestTheWindowCoversOnlyLittleWork(t *testing.T) {
	t.Parallel()
	quick := newPushLimit(&PersistentOptions{Concurrency: 1, InFlight: 200, InFlightAtFirst: 10})
	assert.Equal(t, 10, quick.window)
	for range growAfter {
		quick.took(time.Millisecond / 2)
	}
	assert.False(t, quick.mayGrow(), "the server had no more events")
	quick.pushed(5)
	assert.True(t, quick.mayGrow())
	quick.grow()
	assert.Equal(t, 200, quick.window)
	quick.restart()
	assert.Equal(t, 10, quick.window)

	slow := newPushLimit(&PersistentOptions{Concurrency: 1, InFlight: 200, InFlightAtFirst: 10})
	slow.pushed(10)
	for range 10 * growAfter {
		slow.took(11 * time.Millisecond)
	}
	assert.False(t, slow.mayGrow(), "other subscribers may be idle")
	slow.restart()
	assert.Equal(t, 10, slow.window)
}

func TestTheWindowFitsTheBytes(t *testing.T) {
	t.Parallel()
	p := newPushLimit(&PersistentOptions{InFlight: 200, InFlightAtFirst: 10, InFlightBytes: 1000 * eventWeight})
	e := &Event{Data: make([]byte, 99*eventWeight)}
	assert.False(t, p.overflows(0, e, 0), "one always fits")
	assert.False(t, p.overflows(900*eventWeight, e, 0))
	assert.True(t, p.overflows(901*eventWeight, e, 0))
	p.sized(weight(e))
	p.grow()
	assert.Equal(t, 10, p.window)
	p.sized(2 * weight(e))
	p.narrow(0)
	assert.Equal(t, 5, p.window)
	p.narrow(7)
	assert.Equal(t, 7, p.window, "the consumer works on these")
	assert.False(t, p.overflows(2000*eventWeight, e, 7))
	for range 1000 {
		p.sized(eventWeight)
	}
	p.grow()
	assert.Equal(t, 200, p.window, "the events are small again")
}
