package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// lookTimeout is how long Subscribe may look for the end of what it is to catch up with.
const lookTimeout = 5 * time.Second

// warnIfBehindTheEnd tells the log of a start that lies behind all there is, since nothing comes until the stream gets
// there: perhaps the checkpoint is that of another stream, or of a database that was lost. Whoever does not learn where
// the end is, is not warned.
func (s *Subscriber) warnIfBehindTheEnd(
	ctx context.Context, stream string, start esclient.Start, log watermill.LoggerAdapter,
) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if number, ok := start.Number(); ok && number > 0 {
		last, err := s.lastNumber(ctx, stream)
		if err == nil && number > last+1 {
			warnBehind(log, start, watermill.LogFields{"last_event_number": last})
		}
	}
	if position, ok := start.Position(); ok {
		end, err := s.logEnd(ctx)
		if err == nil && position.Compare(end) > 0 {
			warnBehind(log, start, watermill.LogFields{"end_of_log": end.String()})
		}
	}
}

var errBehindTheEnd = errors.New("eventstore: the start lies behind the end of the stream")

func warnBehind(log watermill.LoggerAdapter, start esclient.Start, fields watermill.LogFields) {
	log.Error("No message comes until the stream gets there", errBehindTheEnd,
		fields.Add(watermill.LogFields{"start": start.String()}))
}

// lastNumber returns the number of the last event of a stream, -1 if there is none.
func (s *Subscriber) lastNumber(ctx context.Context, stream string) (int64, error) {
	last, err := s.conn.client.ReadEvent(ctx, stream, esclient.LastEvent, esclient.ReadEventOptions{})
	switch {
	case errors.Is(err, esclient.ErrStreamNotFound), errors.Is(err, esclient.ErrEventNotFound):
		return -1, nil
	case err != nil:
		return 0, err
	}
	return last.Number, nil
}

// logEnd returns the position of the end of the log.
func (s *Subscriber) logEnd(ctx context.Context) (esclient.Position, error) {
	page, err := s.conn.client.ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true, PageSize: 1})
	return page.From, err
}
