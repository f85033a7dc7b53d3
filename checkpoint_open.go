package eventstore

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// openCheckpoint loads the checkpoint of a topic. It returns nil without Checkpoints. The caller must call
// closeCheckpoint.
func (s *Subscriber) openCheckpoint(
	ctx context.Context, topic, stream string, log watermill.LoggerAdapter,
) (*checkpointKeeper, error) {
	k := newCheckpointKeeper(ctx, &s.cfg, topic, stream, log)
	if k == nil {
		return nil, nil
	}
	if !utf8.ValidString(topic) {
		k.cancel()
		return nil, &esclient.ArgumentError{
			Argument: "topic", Reason: fmt.Sprintf("%q is no UTF-8, and the checkpoint is named after it", topic),
		}
	}
	err := s.reserve(ctx, k)
	if err != nil {
		k.cancel()
		return nil, err
	}
	if err = k.load(ctx); err == nil {
		err = s.checkLog(ctx, stream, k)
	}
	if err != nil {
		s.release(k)
		return nil, err
	}
	return k, nil
}

// closeCheckpoint saves the checkpoint of a subscription that has ended, and releases its name.
func (s *Subscriber) closeCheckpoint(k *checkpointKeeper) {
	if k == nil {
		return
	}
	if k.mark.sub != nil { // the subscription has begun
		k.finish()
	}
	s.release(k)
}

// reserve gives a name to one subscription of the Subscriber at a time. It waits for a subscription that is ending.
func (s *Subscriber) reserve(ctx context.Context, k *checkpointKeeper) error {
	for {
		other := s.tryReserve(k)
		switch {
		case other == nil:
			return nil
		case other.subscription.Err() == nil:
			return &CheckpointError{
				Name: k.name, Op: "use", Err: ErrCheckpointTaken,
				Advice: "this Subscriber has subscribed to the topic already; use another Subscriber with another " +
					"SubscriberName",
			}
		}
		select {
		case <-other.free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if other.calls.isRunning() { // it could overwrite a checkpoint of this subscription
			return &CheckpointError{
				Name: k.name, Op: "use", Err: errStoreHangs,
				Advice: "the call is of the subscription before this one: repair the store and subscribe again",
			}
		}
	}
}

func (s *Subscriber) tryReserve(k *checkpointKeeper) (other *checkpointKeeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.keepers[k.name]; other != nil && !other.isGone() {
		return other
	}
	if s.keepers == nil {
		s.keepers = make(map[string]*checkpointKeeper)
	}
	s.keepers[k.name] = k
	return nil
}

// release releases the name of a keeper that has ended. A call of the store that still runs keeps the name.
func (s *Subscriber) release(k *checkpointKeeper) {
	k.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !k.calls.isRunning() {
		delete(s.keepers, k.name)
	}
	close(k.free)
}

// isGone reports whether another subscription can use the name of a released keeper.
func (k *checkpointKeeper) isGone() bool { return isClosed(k.free) && !k.calls.isRunning() }

// checkLog checks that the log still reaches the checkpoint. If it does not, the checkpoint belongs to another log: the
// subscription would wait until this log gets there, and miss all events before. Whether a log that reaches the
// checkpoint is the same one, the subscription itself finds out by the known event.
func (s *Subscriber) checkLog(ctx context.Context, stream string, k *checkpointKeeper) error {
	end, beyond := s.isBeyondEnd(ctx, stream, k.saved.checkpoint)
	if beyond { // on a node that may lag behind its leader
		end, beyond = s.isBeyondEnd(esclient.WithRequireLeader(ctx, true), stream, k.saved.checkpoint)
	}
	if !beyond {
		return nil
	}
	err := fmt.Errorf("%w: the checkpoint is %v, and %s", esclient.ErrLogWentBack, k.saved.checkpoint, end)
	if !s.cfg.StartOver {
		return k.ofAnotherLog(err)
	}
	k.log.Error("EventStore has another log than before: the subscription starts over", err, nil)
	k.startOver = true
	return nil
}

// ofAnotherLog makes err, that the checkpoint is of another log, the error of Subscribe.
func (k *checkpointKeeper) ofAnotherLog(err error) error {
	return &CheckpointError{
		Name: k.name, Op: "use", Err: err,
		Advice: "the server has another log than before, as a server in memory has after a restart: remove the " +
			"changes and the checkpoint of the old one, or set StartOver",
	}
}

// isBeyondEnd reports whether a checkpoint is beyond the end of the stream or the log, and says where that is. It
// returns false if it cannot read the end.
func (s *Subscriber) isBeyondEnd(ctx context.Context, stream string, c esclient.Checkpoint) (end string, beyond bool) {
	ctx, cancel := context.WithTimeout(ctx, endLookupTimeout)
	defer cancel()
	if position, ok := c.Position(); ok {
		end, err := s.logEnd(ctx)
		return fmt.Sprint("the log ends at ", end), err == nil && position.Compare(end) >= 0
	}
	number, ok := c.Number()
	if !ok || number < 0 {
		return "", false
	}
	page, err := s.conn.client().ReadStreamPage(ctx, stream, esclient.ReadOptions{
		From: esclient.FromNumber(number), MaxCount: 1, PageSize: 1,
	})
	missing := errors.Is(err, esclient.ErrStreamNotFound)
	switch {
	case missing:
		end = "the stream has no event"
	case err != nil || number <= page.LastEventNumber:
		return "", false
	default:
		end = fmt.Sprint("the stream ends at event ", page.LastEventNumber)
	}
	// A truncation may reach beyond the end, also in a deleted stream: when the stream is created again, it goes on
	// after its last number.
	m, _, err := s.conn.client().StreamMetadata(ctx, stream)
	if err != nil {
		return end, !missing // an empty log would refuse nothing
	}
	return end, number >= m.TruncateBefore
}
