package esclient

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// restGrowth is up to which multiple of Config.ReconnectDelay the mean pauses of a subscription grow.
const restGrowth = 10

// patience is how long a subscription that worked before goes on when its credentials are refused: the server may be a
// fresh one, and a password that was changed may be changed back. There is one for each time that it has to go on.
type patience struct {
	limit  time.Duration
	first  time.Duration // the mean pause before the second attempt
	since  time.Time     // of the first refusal; zero if there was none
	delays *backoff.ExponentialBackOff
}

func (c *Client) newPatience() patience {
	return patience{limit: c.cfg.AuthRetryTimeout, first: c.cfg.ReconnectDelay}
}

// bears reports whether err is a refusal that is to be waited out.
func (p *patience) bears(err error) bool {
	if !errors.Is(err, ErrNotAuthenticated) {
		return false
	}
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.Since(p.since) < p.limit
}

// rest waits before the next attempt, for longer each time.
func (p *patience) rest(ctx context.Context) error {
	if p.delays == nil {
		p.delays = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(p.first),
			backoff.WithMaxInterval(restGrowth*p.first),
			backoff.WithMaxElapsedTime(0),
		)
	}
	return pause(ctx, p.delays.NextBackOff())
}
