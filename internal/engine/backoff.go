package engine

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// answeringMax is the longest mean pause before the next attempt if the server answers, but is not ready.
const answeringMax = 500 * time.Millisecond

// backoffs are the pauses between attempts to connect: one sequence while no server answers, and a short one while a
// server answers, but is not ready.
type backoffs struct {
	silent    *backoff.ExponentialBackOff
	answering *backoff.ExponentialBackOff
}

// newBackoffs returns sequences that start with the mean pause first and grow up to longest.
func newBackoffs(first, longest time.Duration) *backoffs {
	grow := func(longest time.Duration) *backoff.ExponentialBackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(first),
			backoff.WithMaxInterval(longest),
			backoff.WithMaxElapsedTime(0),
		)
	}
	return &backoffs{silent: grow(longest), answering: grow(max(first, min(longest, answeringMax)))}
}

// reset starts both sequences from the beginning.
func (b *backoffs) reset() {
	b.silent.Reset()
	b.answering.Reset()
}

// next returns the pause after the error of an attempt.
func (b *backoffs) next(err error) time.Duration {
	if Transient(err) {
		b.silent.Reset()
		return b.answering.NextBackOff()
	}
	b.answering.Reset()
	return b.silent.NextBackOff()
}
