package esclient

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// sleep waits for d. If ctx ends first, it returns the cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pauses are pauses between attempts. They grow, and each varies at random by half.
type pauses struct{ backoff *backoff.ExponentialBackOff }

// next returns the next pause. The first call sets the means of the first pause and of the longest.
func (p *pauses) next(first, longest time.Duration) time.Duration {
	if p.backoff == nil {
		p.backoff = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(first),
			backoff.WithMaxInterval(longest),
			backoff.WithMaxElapsedTime(0),
		)
	}
	return p.backoff.NextBackOff()
}
