package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// DefaultCheckpointPrefix is the default prefix of the streams of [StreamCheckpoints].
const DefaultCheckpointPrefix = "checkpoint-"

const (
	// checkpointEventType is the type of the events that StreamCheckpoints writes.
	checkpointEventType = "watermill-checkpoint"
	// checkpointMaxCount is the $maxCount of their streams. One event would be enough; the others help to find the
	// cause of a problem.
	checkpointMaxCount = 10
	// maxVersionChecks limits how often one call looks up the version of a stream that has changed meanwhile.
	maxVersionChecks = 10
)

// StreamCheckpoints is a [Checkpoints] store on the server itself. Each name has a stream, and the last event of the
// stream has the checkpoint. Its methods are safe for concurrent use.
//
// A Load takes the name over: it writes an event, and each Save expects the version that its own subscription has
// written. If two processes use one name, the one that subscribed later goes on, and the other ends with
// [ErrCheckpointTaken] when it saves next. Both may have handled the same messages until then.
//
// The user needs the rights to read and to write the streams. Load sets their $maxCount to 10 if they have no metadata.
// If the user may not write metadata, an administrator must set $maxCount, or the streams keep all checkpoints.
//
// In $all, the saved checkpoints are messages too, of the type "watermill-checkpoint". They and the events of the
// server do not count for CheckpointAfter and CheckpointMaxCount, so that saving does not cause more saving.
type StreamCheckpoints struct {
	client *esclient.Client
	prefix string

	mu   sync.Mutex
	held map[string]*heldStream // by name
}

var _ Checkpoints = (*StreamCheckpoints)(nil)

// heldStream is a stream that this process has taken over. StreamCheckpoints.mu guards version.
type heldStream struct {
	stream  string
	by      *checkpointKeeper // the subscription; nil if another caller has loaded the checkpoint
	owner   string            // in the events of this subscription
	version esclient.ExpectedVersion
}

// storedCheckpoint is the data of an event.
type storedCheckpoint struct {
	Checkpoint esclient.Checkpoint `json:"checkpoint"`
	Source     string              `json:"source,omitempty"`
	Owner      string              `json:"owner"`   // one for each Load
	Process    string              `json:"process"` // for people
}

// NewStreamCheckpoints returns a store that uses client, which stays the caller's. The streams have the names prefix +
// name; the default prefix is [DefaultCheckpointPrefix]. It sends nothing to the server.
func NewStreamCheckpoints(client *esclient.Client, prefix string) (*StreamCheckpoints, error) {
	if client == nil {
		return nil, &esclient.ArgumentError{Argument: "client", Reason: "is missing"}
	}
	if prefix == "" {
		prefix = DefaultCheckpointPrefix
	}
	return &StreamCheckpoints{client: client, prefix: prefix, held: make(map[string]*heldStream)}, nil
}

// Load implements [Checkpoints]. It takes the name over. It returns an error that is [ErrCheckpointCorrupt] if the
// stream has an event that no StreamCheckpoints has written, [ErrCheckpointSource] if the checkpoint is one of another
// stream or filter, and the errors of [esclient.Client.Append].
func (s *StreamCheckpoints) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	h := &heldStream{stream: s.prefix + name, by: checkpointOwner(ctx), owner: uuid.NewString()}
	if err := s.limit(ctx, h.stream); err != nil {
		return esclient.Checkpoint{}, err
	}
	read := ctx
	for range maxVersionChecks {
		last, version, err := s.last(read, h.stream)
		if err != nil {
			return esclient.Checkpoint{}, err
		}
		if err := CheckCheckpointSource(ctx, last.Source); err != nil {
			return esclient.Checkpoint{}, err
		}
		h.version = version
		err = s.write(ctx, h, last.Checkpoint, last.Source)
		switch {
		case err == nil:
			s.hold(name, h)
			return last.Checkpoint, nil
		case !errors.Is(err, esclient.ErrWrongExpectedVersion):
			return esclient.Checkpoint{}, err
		}
		read = esclient.WithRequireLeader(ctx, true) // the client may be connected to a node that lags
	}
	return esclient.Checkpoint{}, fmt.Errorf("%w: others go on writing to stream %q", ErrCheckpointTaken, h.stream)
}

func (s *StreamCheckpoints) hold(name string, h *heldStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[name] = h
}

// Save implements [Checkpoints]. It returns [ErrCheckpointTaken] if another process, or another Subscriber of this one,
// has loaded the checkpoint since.
func (s *StreamCheckpoints) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	s.mu.Lock()
	h := s.held[name]
	s.mu.Unlock()
	switch {
	case h == nil:
		return fmt.Errorf("eventstore: checkpoint %q was not loaded: call Load first", name)
	case h.by != checkpointOwner(ctx):
		return fmt.Errorf("%w: another Subscriber of this process", ErrCheckpointTaken)
	}
	var err error
	for range maxVersionChecks {
		if err = s.write(ctx, h, c, storeCallFrom(ctx).source()); !errors.Is(err, esclient.ErrWrongExpectedVersion) {
			return err
		}
		if err := s.adopt(ctx, h); err != nil {
			return err
		}
	}
	return err
}

// adopt finds out why a stream does not have the expected version. It returns an error if another process has taken the
// name over. Otherwise Save goes on with the current version.
func (s *StreamCheckpoints) adopt(ctx context.Context, h *heldStream) error {
	// The log of a node that lags behind its leader would look like a log that went back.
	last, version, err := s.last(esclient.WithRequireLeader(ctx, true), h.stream)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Either the reply to an earlier write of this subscription was lost, or the log went back, and no other process
	// has taken the stream over since.
	if last.Owner == h.owner || version < h.version {
		h.version = version
		return nil
	}
	return fmt.Errorf("%w: process %s, by event %d of stream %q", ErrCheckpointTaken, last.Process, version, h.stream)
}

// write appends a checkpoint and expects the held version.
func (s *StreamCheckpoints) write(ctx context.Context, h *heldStream, c esclient.Checkpoint, source string) error {
	event, err := esclient.JSONEvent(checkpointEventType, storedCheckpoint{
		Checkpoint: c, Source: source, Owner: h.owner, Process: thisProcess(),
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	expected := h.version
	s.mu.Unlock()
	res, err := s.client.Append(ctx, h.stream, expected, event)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.version = esclient.ExpectedVersion(res.LastEventNumber)
	return nil
}

// last returns the checkpoint in the last event of a stream, and the version of the stream.
func (s *StreamCheckpoints) last(
	ctx context.Context, stream string,
) (c storedCheckpoint, version esclient.ExpectedVersion, err error) {
	page, err := s.client.ReadStreamPage(ctx, stream, esclient.ReadOptions{Backward: true, MaxCount: 1, PageSize: 1})
	switch {
	case errors.Is(err, esclient.ErrStreamNotFound):
		return c, esclient.NoStream, nil
	case err != nil:
		return c, 0, err
	case len(page.Events) == 0: // truncated
		return c, esclient.ExpectedVersion(page.LastEventNumber), nil
	}
	e := &page.Events[0]
	if e.Type != checkpointEventType {
		return c, 0, fmt.Errorf("%w: event %d of stream %q has the type %q, not %q",
			ErrCheckpointCorrupt, e.Number, stream, e.Type, checkpointEventType)
	}
	if err := decodeCheckpoint(e.Data, &c); err != nil {
		return c, 0, fmt.Errorf("%w: event %d of stream %q: %w", ErrCheckpointCorrupt, e.Number, stream, err)
	}
	return c, esclient.ExpectedVersion(e.Number), nil
}

// limit sets $maxCount, unless the stream has metadata already, or the user lacks the right.
func (s *StreamCheckpoints) limit(ctx context.Context, stream string) error {
	_, err := s.client.SetStreamMetadata(ctx, stream, esclient.NoStream, esclient.StreamMetadata{
		MaxCount: checkpointMaxCount,
	})
	if errors.Is(err, esclient.ErrWrongExpectedVersion) || errors.Is(err, esclient.ErrAccessDenied) {
		return nil
	}
	return err
}

var errNoCheckpoint = errors.New("it holds no checkpoint")

// decodeCheckpoint decodes JSON that must have a member checkpoint.
func decodeCheckpoint(data []byte, v any) error {
	var members struct {
		Checkpoint json.RawMessage `json:"checkpoint"`
	}
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	if len(members.Checkpoint) == 0 {
		return errNoCheckpoint
	}
	return json.Unmarshal(data, v)
}

// thisProcess names the process for people.
func thisProcess() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}
