package groups

import (
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Settings are the settings of a group, with the meaning of CreatePersistentSubscription in the protocol. They have no
// defaults.
type Settings struct {
	ResolveLinks     bool
	StartFrom        int64         // number of the first event; -1 for the next one that is written
	MessageTimeout   time.Duration // after which an event is retried; 0 is none up to 5.0, and later at once
	RecordStatistics bool          // whether it keeps latencies
	LiveBufferSize   int           // how many of the newest events it remembers
	ReadBatchSize    int           // events in a page; 0 is 10, and more than 100 are 100
	BufferSize       int           // events that it reads ahead
	MaxRetryCount    int           // retries before it parks an event
	CheckpointAfter  time.Duration // least time between two checkpoints that the clock asks for; 0 is never
	CheckpointMax    int64         // progress after which an ack has a checkpoint written
	CheckpointMin    int64         // progress below which the clock asks for none
	MaxSubscribers   int           // 0 is no limit
	Strategy         string        // one of the names of strategies
}

// settingsProblem returns the fault in the settings of a group; empty if there is none.
func (s *Set) settingsProblem(settings *Settings) string {
	switch {
	case !s.cfg.Facts.knownStrategy(settings.Strategy):
		return fmt.Sprintf("Consumer strategy %s does not exist.", settings.Strategy)
	case s.cfg.Facts.ChecksGroupStart && settings.StartFrom < -1:
		return "Invalid start position: event number must be greater than or equal to -1."
	}
	return ""
}

// bufferProblem returns the fault in the sizes of the buffers. Servers find it when they create the group.
func (s *Set) bufferProblem(settings *Settings) string {
	if s.cfg.Facts.ChecksGroupBuffers && settings.ReadBatchSize >= settings.BufferSize {
		return "Invalid read batch size: it must be smaller than the buffer."
	}
	return ""
}

// streamProblem returns the fault in the name of the stream of a group.
func (s *Set) streamProblem(stream string) string {
	switch {
	case stream == eventlog.AllStream:
		return s.cfg.Facts.OnAllText
	case stream == "":
		return "Bad stream name."
	}
	return ""
}
