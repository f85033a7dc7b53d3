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

	mu         sync.Mutex
	endpoint   string // of the latest confirmation; empty before the first
	unreported bool   // the latest confirmation is not reported
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
	r.endpoint, r.unreported = endpoint, true
}

// subscribed reports the latest confirmation once.
func (r *reporter) subscribed() {
	r.mu.Lock()
	unreported := r.unreported
	r.unreported = false
	r.mu.Unlock()
	if !unreported {
		return
	}
	i := r.info()
	r.log(slog.LevelDebug, "subscribed", &i)
	for _, h := range r.hooks.subscribed {
		h.OnSubscribed(i)
	}
}

func (r *reporter) dropped(err error) {
	r.subscribed() // another goroutine may report the confirmation later
	i := r.info()
	i.Err = err
	r.log(slog.LevelInfo, "subscription dropped", &i)
	for _, h := range r.hooks.dropped {
		h.OnDropped(i)
	}
}

// unresolved reports a link that leads to no event. The consumer gets it now.
func (r *reporter) unresolved(e *Event) {
	for _, h := range r.hooks.unresolved {
		i := r.info()
		i.Event = e
		h.OnUnresolved(i)
	}
}

// leftOut reports an event that could not be received.
func (r *reporter) leftOut(err error) {
	r.subscribed() // as with dropped
	i := r.info()
	i.Err = err
	r.log(slog.LevelWarn, "event left to its message timeout", &i)
	for _, h := range r.hooks.leftOut {
		h.OnLeftOut(i)
	}
}

// gaveBack reports events that were given back to the server, and the end of their session.
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

// slow reports that the consumer of a group is slower than its message timeout allows.
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

// logWentBack reports that the log is a different one, and that the subscription goes on.
func (r *reporter) logWentBack(err error) {
	i := r.info()
	i.Err = err
	r.log(slog.LevelWarn, "the log went back: the subscription goes on with new events", &i)
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

// ended reports the end of the subscription, unless it never began.
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

// wantsDelivered reports whether a hook observes deliveries. Otherwise the lag is not needed.
func (r *reporter) wantsDelivered() bool { return len(r.hooks.delivered) > 0 }

// delivered reports an event. last is the number of the last known event of the stream; -1 if none is known.
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

// wantsSettled reports whether a hook observes acks and nacks. Otherwise the events need not be gathered.
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

// waits reports that a subscription cannot go on for now.
func (r *reporter) waits(err error) {
	i := r.info()
	i.Err = err
	r.log(slog.LevelInfo, "subscription waits", &i)
}
