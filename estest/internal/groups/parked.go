package groups

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (g *Group) parkedStream() string { return "$persistentsubscription-" + g.ID() + "-parked" }

// isParkedStream reports whether a stream holds parked events. They never count for checkpoints, not even in a group on
// that stream.
func isParkedStream(name string) bool {
	return strings.HasPrefix(name, "$persistentsubscription-") && strings.HasSuffix(name, "-parked")
}

// parkedMetadata is the metadata of a parked event.
type parkedMetadata struct {
	Added                   string `json:"added,omitempty"`
	Reason                  string `json:"reason,omitempty"`
	SubscriptionEventNumber int64  `json:"subscriptionEventNumber,omitempty"`
}

// park settles a message and writes a link to its event to the parked stream.
func (g *Group) park(m *message, reason string) {
	g.close(m)
	g.release(m.original().ID)
	about := m.event
	var data []byte
	if about != nil {
		data = []byte(eventlog.LinkData(about.Number, about.Stream.Name))
	} else {
		data = m.link.Data()
	}
	metadata, _ := json.Marshal(parkedMetadata{
		Added: g.set.cfg.Now().Format(time.RFC3339Nano), Reason: reason, SubscriptionEventNumber: m.original().Number,
	})
	g.set.cfg.Log.SystemWrite(g.parkedStream(), eventlog.LinkType, false, data, metadata)
}

// ReplayParked delivers the parked events before entry stopAt again, and truncates the parked stream there. It does so
// even if the stream begins behind stopAt, as servers do: that brings entries back.
func (g *Group) ReplayParked(stopAt int64) {
	s := g.set.cfg.Log.Stream(g.parkedStream())
	if s == nil || s.Last() < 0 || s.SoftDeleted() || s.HardDeleted() || stopAt == 0 {
		return
	}
	end := min(s.Last()+1, stopAt)
	for number := s.First(); number < end; number++ {
		r := s.Visible(number, g.set.cfg.Now())
		if r == nil {
			continue
		}
		m := &message{replayed: true}
		m.event, m.link = g.set.cfg.Log.Resolve(r)
		g.addRetry(m, 0)
	}
	const meta = `{"$tb":%d,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`
	g.set.cfg.Log.SystemAppend("$$"+s.Name, eventlog.MetadataType, true, fmt.Appendf(nil, meta, end), nil)
	g.dispatch()
}

// forget soft-deletes the checkpoint stream and the parked stream of the group, whether they exist or not.
func (g *Group) forget() {
	for _, name := range []string{g.checkpointStream(), g.parkedStream()} {
		if s := g.set.cfg.Log.Stream(name); s == nil || !s.SoftDeleted() && !s.HardDeleted() {
			g.set.cfg.Log.SystemAppend("$$"+name, eventlog.MetadataType, true, eventlog.SoftDeleteData, nil)
		}
	}
}
