package esclient

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// reporter calls the hooks of one subscription and writes its log. No lock may be held during a call.
type reporter struct {
	c            *Client
	hooks        *hookSet
	subscription AnySubscription
	stream       string
	group        string
	begun        atomic.Bool // the server has served the subscription, by a read or a confirmation

	mu       sync.Mutex
	endpoint string // that confirmed the subscription last; empty before the first did
	untold   bool   // that it did
}

func (r *reporter) info() SubscriptionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return SubscriptionInfo{
		Subscription: r.subscription, Stream: r.stream, Group: r.group, Endpoint: r.endpoint,
	}
}

func (r *reporter) log(level slog.Level, message string, i *SubscriptionInfo) {
	log := r.c.cfg.Logger
	if !log.Enabled(r.c.ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("stream", i.Stream), slog.String("endpoint", i.Endpoint)}
	if i.Group != "" {
		attrs = append(attrs, slog.String("group", i.Group))
	}
	if i.Err != nil {
		attrs = append(attrs, slog.Any("error", i.Err))
	}
	log.LogAttrs(r.c.ctx, level, message, attrs...)
}

// confirmed notes that the server has confirmed the subscription. It calls no hook, so it may be called anywhere.
func (r *reporter) confirmed(endpoint string) {
	r.begun.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoint, r.untold = endpoint, true
}

// subscribed tells of the confirmation, unless that was done already.
func (r *reporter) subscribed() {
	r.mu.Lock()
	untold := r.untold
	r.untold = false
	r.mu.Unlock()
	if !untold {
		return
	}
	i := r.info()
	r.log(slog.LevelDebug, "subscribed", &i)
	for _, h := range r.hooks.subscribed {
		h.OnSubscribed(i)
	}
}

func (r *reporter) dropped(err error) {
	r.subscribed() // the goroutine that subscribed may come later
	i := r.info()
	i.Err = err
	r.log(slog.LevelInfo, "subscription dropped", &i)
	for _, h := range r.hooks.dropped {
		h.OnDropped(i)
	}
}

// unresolved tells of a link that leads to no event, and that the consumer gets now.
func (r *reporter) unresolved(e *Event) {
	for _, h := range r.hooks.unresolved {
		i := r.info()
		i.Event = e
		h.OnUnresolved(i)
	}
}

// leftOut tells of an event that could not be received.
func (r *reporter) leftOut(err error) {
	r.subscribed() // as with dropped
	i := r.info()
	i.Err = err
	r.log(slog.LevelWarn, "event left to its message timeout", &i)
	for _, h := range r.hooks.leftOut {
		h.OnLeftOut(i)
	}
}

// gaveBack tells of events that were pushed and given back to the server, and of the end of what they were pushed on.
func (r *reporter) gaveBack(reason error, events []*Event) {
	r.subscribed() // as with dropped
	i := r.info()
	i.Err = reason
	level := slog.LevelInfo
	if errors.Is(reason, errRoom) {
		level = slog.LevelDebug
	}
	r.log(level, fmt.Sprintf("%d events given back to the server", len(events)), &i)
	for _, e := range events {
		i.Event = e
		for _, h := range r.hooks.leftOut {
			h.OnLeftOut(i)
		}
	}
	i.Event = nil
	for _, h := range r.hooks.dropped {
		h.OnDropped(i)
	}
}

// slow tells that the consumer of a group is slower than its message timeout allows.
func (r *reporter) slow(err error) {
	r.subscribed() // as with dropped
	i := r.info()
	i.Err = err
	r.log(slog.LevelWarn, "consumer is too slow", &i)
	for _, h := range r.hooks.slow {
		h.OnSlowConsumer(i)
	}
}

func (r *reporter) caughtUp() {
	i := r.info()
	r.log(slog.LevelDebug, "subscription caught up", &i)
	for _, h := range r.hooks.caughtUp {
		h.OnCaughtUp(i)
	}
}

func (r *reporter) fellBehind(err error) {
	i := r.info()
	i.Err = err
	r.log(slog.LevelDebug, "subscription fell behind", &i)
	for _, h := range r.hooks.fellBehind {
		h.OnFellBehind(i)
	}
}

// logWentBack tells that the log is another one, and that the subscription goes on.
func (r *reporter) logWentBack(err error) {
	i := r.info()
	i.Err = err
	r.log(slog.LevelWarn, "the log went back: the subscription goes on with what is new", &i)
	for _, h := range r.hooks.wentBack {
		h.OnLogWentBack(i)
	}
}

func (r *reporter) startsBehindEnd(err error) {
	i := r.info()
	i.Err = err
	r.log(slog.LevelWarn, "subscription begins behind the end of the stream", &i)
	for _, h := range r.hooks.behindEnd {
		h.OnStartBehindEnd(i)
	}
}

// ended tells that the subscription is over, unless it never began.
func (r *reporter) ended(err error) {
	r.subscribed()
	if !r.begun.Load() {
		return
	}
	i := r.info()
	i.Err = err
	level := slog.LevelWarn
	if errors.Is(err, ErrSubscriptionStopped) || errors.Is(err, ErrClosed) {
		level = slog.LevelDebug
	}
	r.log(level, "subscription ended", &i)
	for _, h := range r.hooks.ended {
		h.OnSubscriptionEnded(i)
	}
}

// wantsDelivered reports whether a hook needs delivered. Otherwise the lag need not be computed.
func (r *reporter) wantsDelivered() bool { return len(r.hooks.delivered) > 0 }

// delivered tells of an event where the last one known of has the number last; -1 if none is.
func (r *reporter) delivered(e *Event, last int64) {
	i := r.info()
	i.Event, i.Lag = e, -1
	if r.stream != AllStream {
		i.Lag = max(0, last-e.Original().Number)
	}
	for _, h := range r.hooks.delivered {
		h.OnDelivered(i)
	}
}

// wantsSettled reports whether a hook needs settled. Otherwise the events need not be gathered.
func (r *reporter) wantsSettled() bool {
	h := r.hooks
	return len(h.acked) > 0 || len(h.nacked) > 0 || len(h.parked) > 0
}

func (r *reporter) settled(events []*Event, how settlement) {
	i := r.info()
	for _, e := range events {
		i.Event = e
		if !how.nack {
			for _, h := range r.hooks.acked {
				h.OnAcked(i)
			}
			continue
		}
		i.Action = how.action
		for _, h := range r.hooks.nacked {
			h.OnNacked(i)
		}
		if how.action != NackPark {
			continue
		}
		for _, h := range r.hooks.parked {
			h.OnParked(i)
		}
	}
}

// waits tells that a subscription could not go on for now.
func (r *reporter) waits(err error) {
	i := r.info()
	i.Err = err
	r.log(slog.LevelInfo, "subscription waits", &i)
}
