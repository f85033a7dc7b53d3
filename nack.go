package eventstore

import (
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/cenkalti/backoff/v4"
)

// The delay grows with each nack of a message. The jitter is small enough that no delay is shorter than the first.
const (
	nackMultiplier = 2
	nackJitter     = 0.25
)

// nackDelays returns the delays between the attempts of a message, or nil for no delay.
func (c *SubscriberConfig) nackDelays() *backoff.ExponentialBackOff {
	if c.NackDelay <= 0 {
		return nil
	}
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(c.NackDelay),
		backoff.WithMultiplier(nackMultiplier),
		backoff.WithMaxInterval(c.MaxNackDelay),
		backoff.WithMaxElapsedTime(0),
		backoff.WithRandomizationFactor(0), // the first is NackDelay
	)
}

// nextDelay returns the delay before the redelivery d. It must be called once for each delivery.
func (d *delivery) nextDelay() time.Duration {
	if d.delays == nil {
		return 0
	}
	delay := d.delays.NextBackOff()
	d.delays.RandomizationFactor = nackJitter
	return min(delay, d.delays.MaxInterval)
}

var errNacked = errors.New("eventstore: the handler has nacked the message")

// logNack logs the 1st, 10th, 100th … nack of a message.
func (s *subscription) logNack(d *delivery, nacks int) {
	if isPowerOfTen(nacks) {
		s.log.Error("Message nacked", errNacked, s.fields(d, watermill.LogFields{"nacks": nacks}))
	}
}

func isPowerOfTen(n int) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}
