package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// catchUp opens the source of a catch-up subscription.
func (s *Subscriber) catchUp(
	ctx context.Context, topic, stream string, log watermill.LoggerAdapter, keeper *checkpointKeeper,
	live *liveSignal,
) (source, error) {
	start := s.cfg.Start
	switch {
	case keeper != nil:
		start = keeper.start()
	case s.cfg.LoadStart != nil:
		var err error
		if start, err = s.cfg.LoadStart(ctx, topic); err != nil {
			return nil, fmt.Errorf("LoadStart: %w", err)
		}
	}
	hooks := []esclient.Hook{streamLog{log, s.cfg.StartOver}, live}
	if keeper != nil {
		keeper.mark.known = keeper.known()
		hooks = append(hooks, &keeper.mark)
	}
	sub, err := s.conn.client().SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{
		Start: start, Known: keeper.known(), StartOver: s.cfg.StartOver, ResolveLinks: s.cfg.ResolveLinks,
		Filter: s.cfg.Filter, FilterInClient: true,
		PageSize: s.cfg.PageSize, BufferSize: s.cfg.BufferSize, BufferBytes: s.cfg.BufferBytes,
		Hooks: hooks,
	})
	if err != nil {
		return nil, err
	}
	if err := sub.Ready(ctx); err != nil {
		if keeper != nil && errors.Is(err, esclient.ErrLogWentBack) {
			err = keeper.ofAnotherLog(err)
		}
		return nil, err
	}
	if keeper != nil {
		if keeper.savesStart() {
			keeper.mark.known = s.lastEvent(ctx, stream)
		}
		if err := keeper.use(ctx, sub); err != nil {
			return nil, err
		}
	}
	if keeper == nil || keeper.saved.checkpoint.IsZero() { // otherwise checkLog has looked
		s.warnIfStartBeyondEnd(ctx, stream, start, log)
	}
	return &streamSource{s: sub, start: start}, nil
}

// endLookupTimeout limits how long Subscribe looks for the end of the stream or of the log.
const endLookupTimeout = 5 * time.Second

// warnIfStartBeyondEnd logs a start beyond the end of the stream or the log: the subscription gets no event until the
// stream reaches the start. The checkpoint may be that of another stream, or of a lost database. If the end cannot be
// read, nothing is logged.
func (s *Subscriber) warnIfStartBeyondEnd(
	ctx context.Context, stream string, start esclient.Start, log watermill.LoggerAdapter,
) {
	ctx, cancel := context.WithTimeout(ctx, endLookupTimeout)
	defer cancel()
	if number, ok := start.Number(); ok && number > 0 {
		last, err := s.lastNumber(ctx, stream)
		if err == nil && number > last+1 {
			warnStartBeyondEnd(log, start, watermill.LogFields{"last_event_number": last})
		}
	}
	if position, ok := start.Position(); ok {
		end, err := s.logEnd(ctx)
		if err == nil && position.Compare(end) > 0 {
			warnStartBeyondEnd(log, start, watermill.LogFields{"end_of_log": end.String()})
		}
	}
}

var errStartBeyondEnd = errors.New("eventstore: the start is beyond the end of the stream")

func warnStartBeyondEnd(log watermill.LoggerAdapter, start esclient.Start, fields watermill.LogFields) {
	log.Error("No message comes until the stream gets there", errStartBeyondEnd,
		fields.Add(watermill.LogFields{"start": start.String()}))
}

// lastNumber returns the number of the last event of a stream, or -1 if it has none.
func (s *Subscriber) lastNumber(ctx context.Context, stream string) (int64, error) {
	last, err := s.conn.client().ReadEvent(ctx, stream, esclient.LastEvent, esclient.ReadEventOptions{})
	switch {
	case errors.Is(err, esclient.ErrStreamNotFound), errors.Is(err, esclient.ErrEventNotFound):
		return -1, nil
	case err != nil:
		return 0, err
	}
	return last.Number, nil
}

// lastEvent returns the last event of a stream or of the log. It is zero if there is none, or if it cannot be read.
func (s *Subscriber) lastEvent(ctx context.Context, stream string) (known esclient.KnownEvent) {
	ctx, cancel := context.WithTimeout(ctx, endLookupTimeout)
	defer cancel()
	if stream != esclient.AllStream {
		e, err := s.conn.client().ReadEvent(ctx, stream, esclient.LastEvent, esclient.ReadEventOptions{})
		if err == nil {
			known, _ = e.KnownIn(stream)
		}
		return known
	}
	page, err := s.conn.client().ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true, MaxCount: 1, PageSize: 1})
	if err == nil && len(page.Events) > 0 {
		known, _ = page.Events[0].KnownIn(stream)
	}
	return known
}

// logEnd returns the position of the end of the log.
func (s *Subscriber) logEnd(ctx context.Context) (esclient.Position, error) {
	page, err := s.conn.client().ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true, PageSize: 1})
	return page.From, err
}
