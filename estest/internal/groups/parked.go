package groups

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (g *Group) parkedStream() string { return "$persistentsubscription-" + g.ID() + "-parked" }

// isParkedStream reports whether a stream is one of parked messages. Its events do not count for checkpoints, by
// whatever way they come into a group.
func isParkedStream(name string) bool {
	return strings.HasPrefix(name, "$persistentsubscription-") && strings.HasSuffix(name, "-parked")
}

// parkedMetadata is the metadata of a parked event.
type parkedMetadata struct {
	Added                   string `json:"added,omitempty"`
	Reason                  string `json:"reason,omitempty"`
	SubscriptionEventNumber int64  `json:"subscriptionEventNumber,omitempty"`
}

// park moves a message to the parked stream: a link to the event that it is about.
func (g *Group) park(m *message, reason string) {
	g.close(m)
	g.release(m.original().ID)
	about := m.event
	var data []byte
	if about != nil {
		data = []byte(eventlog.LinkData(about.Number, about.Stream.Name))
	} else {
		data = m.link.Data
	}
	metadata, _ := json.Marshal(parkedMetadata{
		Added: g.set.Now().Format(time.RFC3339Nano), Reason: reason, SubscriptionEventNumber: m.original().Number,
	})
	g.set.Log.SystemWrite(g.parkedStream(), eventlog.LinkType, false, data, metadata)
}

// ReplayParked delivers the parked messages again, those before entry stopAt. The server takes the stream to begin
// there from then on, even if it has begun behind it.
func (g *Group) ReplayParked(stopAt int64) {
	s := g.set.Log.Stream(g.parkedStream())
	if s == nil || s.Last() < 0 || s.SoftDeleted() || s.HardDeleted() || stopAt == 0 {
		return
	}
	end := min(s.Last()+1, stopAt)
	for number := s.First(); number < end; number++ {
		r := s.Visible(number, g.set.Now())
		if r == nil {
			continue
		}
		m := &message{replayed: true}
		m.event, m.link = g.set.Log.Resolve(r)
		g.addRetry(m, 0)
	}
	const meta = `{"$tb":%d,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`
	g.set.Log.SystemAppend("$$"+s.Name, eventlog.MetadataType, true, fmt.Appendf(nil, meta, end), nil)
	g.dispatch()
}

// forget soft-deletes what the server wrote about a group, or would have written.
func (g *Group) forget() {
	for _, name := range []string{g.checkpointStream(), g.parkedStream()} {
		if s := g.set.Log.Stream(name); s == nil || !s.SoftDeleted() && !s.HardDeleted() {
			g.set.Log.SystemAppend("$$"+name, eventlog.MetadataType, true, eventlog.SoftDeleteData, nil)
		}
	}
}
