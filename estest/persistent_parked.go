package estest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

func (g *group) parkedStream() string { return "$persistentsubscription-" + g.ID() + "-parked" }

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
func (g *group) park(m *message, reason string) {
	g.close(m)
	g.release(m.original().id)
	about := m.event
	var data []byte
	if about != nil {
		data = []byte(numberAt(about.number, about.stream.name))
	} else {
		data = m.link.data
	}
	metadata, _ := json.Marshal(parkedMetadata{
		Added: g.set.Now().Format(time.RFC3339Nano), Reason: reason, SubscriptionEventNumber: m.original().number,
	})
	g.set.Log.systemWrite(g.parkedStream(), linkType, false, data, metadata)
}

// ReplayParked delivers the parked messages again, those before entry stopAt. The server takes the stream to begin
// there from then on, even if it has begun behind it.
func (g *group) ReplayParked(stopAt int64) {
	s := g.set.Log.stream(g.parkedStream())
	if s == nil || s.last() < 0 || s.softDeleted() || s.hardDeleted() || stopAt == 0 {
		return
	}
	end := min(s.last()+1, stopAt)
	for number := s.first(); number < end; number++ {
		r := s.visible(number, g.set.Now())
		if r == nil {
			continue
		}
		m := &message{replayed: true}
		m.event, m.link = g.set.Log.resolve(r)
		g.addRetry(m, 0)
	}
	const meta = `{"$tb":%d,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`
	g.set.Log.systemAppend("$$"+s.name, metadataType, true, fmt.Appendf(nil, meta, end), nil)
	g.dispatch()
}

// forget soft-deletes what the server wrote about a group, or would have written.
func (g *group) forget() {
	for _, name := range []string{g.checkpointStream(), g.parkedStream()} {
		if s := g.set.Log.stream(name); s == nil || !s.softDeleted() && !s.hardDeleted() {
			g.set.Log.systemAppend("$$"+name, metadataType, true, softDeleteData, nil)
		}
	}
}
