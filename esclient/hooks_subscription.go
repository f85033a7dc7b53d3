package esclient

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// witness tells the hooks and the log what becomes of one subscription. No lock may be held when it is told something.
type witness struct {
	c      *Client
	hooks  *hookSet
	stream string
	group  string

	mu       sync.Mutex
	endpoint string // that confirmed the subscription last; empty before the first did
	untold   bool   // that it did
}

func (w *witness) info() SubscriptionInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	return SubscriptionInfo{Stream: w.stream, Group: w.group, Endpoint: w.endpoint}
}

func (w *witness) log(level slog.Level, message string, i *SubscriptionInfo) {
	log := w.c.cfg.Logger
	if !log.Enabled(w.c.ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("stream", i.Stream), slog.String("endpoint", i.Endpoint)}
	if i.Group != "" {
		attrs = append(attrs, slog.String("group", i.Group))
	}
	if i.Err != nil {
		attrs = append(attrs, slog.Any("error", i.Err))
	}
	log.LogAttrs(w.c.ctx, level, message, attrs...)
}

// confirmed notes that the server has confirmed the subscription. It tells nobody yet, so it may be called anywhere.
func (w *witness) confirmed(endpoint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endpoint, w.untold = endpoint, true
}

// subscribed tells of the confirmation, unless that was done already.
func (w *witness) subscribed() {
	w.mu.Lock()
	untold := w.untold
	w.untold = false
	w.mu.Unlock()
	if !untold {
		return
	}
	i := w.info()
	w.log(slog.LevelDebug, "subscribed", &i)
	for _, h := range w.hooks.subscribed {
		h.OnSubscribed(i)
	}
}

func (w *witness) dropped(err error) {
	w.subscribed() // whoever subscribed may not have got round to it
	i := w.info()
	i.Err = err
	w.log(slog.LevelInfo, "subscription dropped", &i)
	for _, h := range w.hooks.dropped {
		h.OnDropped(i)
	}
}

// unresolved tells of a link that leads to no event, and that the consumer gets now.
func (w *witness) unresolved(e *Event) {
	for _, h := range w.hooks.unresolved {
		i := w.info()
		i.Event = e
		h.OnUnresolved(i)
	}
}

// leftOut tells of an event that could not be received.
func (w *witness) leftOut(err error) {
	w.subscribed() // as with dropped
	i := w.info()
	i.Err = err
	w.log(slog.LevelWarn, "event left to its message timeout", &i)
	for _, h := range w.hooks.leftOut {
		h.OnLeftOut(i)
	}
}

// gaveBack tells of events that were pushed and given back to the server, and of the end of what they were pushed on.
func (w *witness) gaveBack(reason error, events []*Event) {
	w.subscribed() // as with dropped
	i := w.info()
	i.Err = reason
	level := slog.LevelInfo
	if errors.Is(reason, errRoom) {
		level = slog.LevelDebug
	}
	w.log(level, fmt.Sprintf("%d events given back to the server", len(events)), &i)
	for _, e := range events {
		i.Event = e
		for _, h := range w.hooks.leftOut {
			h.OnLeftOut(i)
		}
	}
	i.Event = nil
	for _, h := range w.hooks.dropped {
		h.OnDropped(i)
	}
}

// slow tells that the consumer of a group is slower than its message timeout allows.
func (w *witness) slow(err error) {
	w.subscribed() // as with dropped
	i := w.info()
	i.Err = err
	w.log(slog.LevelWarn, "consumer is too slow", &i)
	for _, h := range w.hooks.slow {
		h.OnSlowConsumer(i)
	}
}

func (w *witness) caughtUp() {
	i := w.info()
	w.log(slog.LevelDebug, "subscription caught up", &i)
	for _, h := range w.hooks.caughtUp {
		h.OnCaughtUp(i)
	}
}

func (w *witness) fellBehind(err error) {
	i := w.info()
	i.Err = err
	w.log(slog.LevelDebug, "subscription fell behind", &i)
	for _, h := range w.hooks.fellBehind {
		h.OnFellBehind(i)
	}
}

// logWentBack tells that the log is another one, and that the subscription goes on.
func (w *witness) logWentBack(err error) {
	i := w.info()
	i.Err = err
	w.log(slog.LevelWarn, "the log went back: the subscription goes on with what is new", &i)
	for _, h := range w.hooks.wentBack {
		h.OnLogWentBack(i)
	}
}

func (w *witness) startsBehindEnd(err error) {
	i := w.info()
	i.Err = err
	w.log(slog.LevelWarn, "subscription begins behind the end of the stream", &i)
	for _, h := range w.hooks.behindEnd {
		h.OnStartBehindEnd(i)
	}
}

// ended tells that the subscription is over, unless it never began.
func (w *witness) ended(err error) {
	w.subscribed()
	i := w.info()
	if i.Endpoint == "" {
		return
	}
	i.Err = err
	level := slog.LevelWarn
	if errors.Is(err, ErrSubscriptionStopped) || errors.Is(err, ErrClosed) {
		level = slog.LevelDebug
	}
	w.log(level, "subscription ended", &i)
	for _, h := range w.hooks.ended {
		h.OnSubscriptionEnded(i)
	}
}

// wantsDelivered is asked before delivered, so that nobody works out a lag in vain.
func (w *witness) wantsDelivered() bool { return len(w.hooks.delivered) > 0 }

// delivered tells of an event where the last one known of has the number last; -1 if none is.
func (w *witness) delivered(e *Event, last int64) {
	i := w.info()
	i.Event, i.Lag = e, -1
	if w.stream != AllStream {
		i.Lag = max(0, last-e.Original().Number)
	}
	for _, h := range w.hooks.delivered {
		h.OnDelivered(i)
	}
}

// wantsSettled is asked before settled, so that nobody gathers the events in vain.
func (w *witness) wantsSettled() bool {
	h := w.hooks
	return len(h.acked) > 0 || len(h.nacked) > 0 || len(h.parked) > 0
}

func (w *witness) settled(events []*Event, how settlement) {
	i := w.info()
	for _, e := range events {
		i.Event = e
		if !how.nack {
			for _, h := range w.hooks.acked {
				h.OnAcked(i)
			}
			continue
		}
		i.Action = how.action
		for _, h := range w.hooks.nacked {
			h.OnNacked(i)
		}
		if how.action != NackPark {
			continue
		}
		for _, h := range w.hooks.parked {
			h.OnParked(i)
		}
	}
}

// newestNumber is the number of an event, as far as that tells how long the stream is: the tombstone's does not.
func newestNumber(numbers ...int64) int64 {
	newest := int64(-1)
	for _, n := range numbers {
		if n != esproto.DeletedStream {
			newest = max(newest, n)
		}
	}
	return newest
}
