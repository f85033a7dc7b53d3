package groups

import (
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Settings are those of CreatePersistentSubscription.
type Settings struct {
	ResolveLinks     bool
	StartFrom        int64
	MessageTimeout   time.Duration
	RecordStatistics bool
	LiveBufferSize   int
	ReadBatchSize    int
	BufferSize       int
	MaxRetryCount    int
	CheckpointAfter  time.Duration
	CheckpointMax    int64
	CheckpointMin    int64
	MaxSubscribers   int
	Strategy         string
}

// settingsProblem says what is wrong with the settings of a group; nothing if they will do.
func (s *Set) settingsProblem(settings *Settings) string {
	switch {
	case !s.Facts.knownStrategy(settings.Strategy):
		return fmt.Sprintf("Consumer strategy %s does not exist.", settings.Strategy)
	case s.Facts.ChecksGroupStart && settings.StartFrom < -1:
		return "Invalid start position: event number must be greater than or equal to -1."
	}
	return ""
}

// bufferProblem says what is wrong with the sizes of a group's buffers, which servers find when they make it.
func (s *Set) bufferProblem(settings *Settings) string {
	if s.Facts.ChecksGroupBuffers && settings.ReadBatchSize >= settings.BufferSize {
		return "Invalid read batch size: it must be smaller than the buffer."
	}
	return ""
}

// streamProblem says what is wrong with the name of a group's stream.
func (s *Set) streamProblem(stream string) string {
	switch {
	case stream == eventlog.AllStream:
		return s.Facts.OnAllText
	case stream == "":
		return "Bad stream name."
	}
	return ""
}
