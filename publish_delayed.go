package eventstore

import (
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
)

// maxDelayTopics limits how many topics a Publisher remembers. Delayed messages of further topics are not logged.
const maxDelayTopics = 1000

// delayLog logs, once for each topic, that a message asks for a delay.
type delayLog struct {
	mu   sync.Mutex
	told map[string]struct{}
}

// check does not refuse the message. Watermill's DelayOnError leaves a delay in failed messages, which must still reach
// the poison queue.
func (l *delayLog) check(log watermill.LoggerAdapter, topic string, m *message.Message) {
	until, ok := m.Metadata[delay.DelayedUntilKey]
	if !ok || !isAhead(until) || !l.isNew(topic) {
		return
	}
	log.Error("EventStore has no delayed delivery: the message is delivered at once. "+
		"Publish it to a Pub/Sub with delays, and forward it from there when it is due", nil,
		watermill.LogFields{"topic": topic, "message_uuid": m.UUID, "delayed_until": until})
}

// isAhead reports whether the text is a time in the future. A text that is no time counts as one.
func isAhead(until string) bool {
	t, err := time.Parse(time.RFC3339, until)
	return err != nil || t.After(time.Now())
}

func (l *delayLog) isNew(topic string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.told[topic]; known || len(l.told) >= maxDelayTopics {
		return false
	}
	if l.told == nil {
		l.told = make(map[string]struct{})
	}
	l.told[topic] = struct{}{}
	return true
}
