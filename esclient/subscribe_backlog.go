package esclient

import (
	"sync/atomic"
	"time"
)

// Backlog tells how far the consumer of a subscription is behind.
type Backlog struct {
	// Queued is how many events the subscription has received that Next has not returned.
	Queued int
	// Oldest is when the server wrote the first of these, in UTC; see Event.Original. It is zero if none is queued, or
	// the server does not tell.
	Oldest time.Time
	// Newest is the highest number of an event of the stream that the client knows. The client does not know all events
	// before their delivery, so there may be higher ones. It is -1 if the client knows none, and in AllStream, where
	// events have no numbers.
	Newest int64
}

// AnySubscription is a [*Subscription] or a [*PersistentSubscription].
type AnySubscription interface {
	Backlog() Backlog
	Closed() <-chan struct{}
}

// Backlog returns how far the consumer is behind. It asks the server nothing. Any goroutine may call it.
func (s *Subscription) Backlog() Backlog {
	b := Backlog{Queued: s.unread.len(), Newest: -1}
	b.Oldest = s.unread.oldest().Time()
	f := s.feed.Load()
	if f != nil {
		b.Queued += f.queue.len()
		if b.Oldest.IsZero() {
			b.Oldest = f.queue.oldest().Time()
		}
	}
	switch {
	case s.progress.all:
	case f == nil:
		b.Newest = newestNumber(s.unread.newest())
	default:
		b.Newest = newestNumber(s.unread.newest(), s.progress.deliveredNumber.Load(), f.last, f.queue.newestNumber())
	}
	return b
}

// Backlog returns how far the consumer is behind. It asks the server nothing. Any goroutine may call it.
func (p *PersistentSubscription) Backlog() Backlog {
	return Backlog{
		Queued: p.queue.len(), Oldest: p.queue.oldest().Time(),
		Newest: newestNumber(p.lastNumber(), p.queue.newestNumber()),
	}
}

// unread counts, for any goroutine, the events that are left of the page that a Subscription delivers. The goroutine
// that calls Next writes it.
type unread struct {
	n       atomic.Int64
	created atomic.Int64 // Timestamp of the first event; 0 for none
	last    atomic.Int64 // 1 more than the number of the stream's last event, by the latest page
}

// publish tells of a page. In a subscription that has caught up, none is left, and it costs two loads.
func (u *unread) publish(page []Event, last int64) {
	if u.last.Load() != last+1 {
		u.last.Store(last + 1)
	}
	if len(page) == 0 {
		if u.n.Load() != 0 {
			u.n.Store(0)
			u.created.Store(0)
		}
		return
	}
	u.created.Store(int64(page[0].Original().Created))
	u.n.Store(int64(len(page)))
}

func (u *unread) len() int { return int(u.n.Load()) }

func (u *unread) newest() int64 { return u.last.Load() - 1 }

func (u *unread) oldest() Timestamp { return Timestamp(u.created.Load()) }
