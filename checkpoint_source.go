package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// checkpointSource is the stream of a topic and its filter. In another stream, or behind a filter that has passed over
// other events, a checkpoint means something else.
type checkpointSource struct {
	Stream         string   `json:"stream"`
	StreamPrefixes []string `json:"streamPrefixes,omitempty"`
	StreamRegex    string   `json:"streamRegex,omitempty"`
	TypePrefixes   []string `json:"typePrefixes,omitempty"`
	TypeRegex      string   `json:"typeRegex,omitempty"`

	// Known is the last event up to the checkpoint that the log is recognised by.
	Known esclient.KnownEvent `json:"event,omitzero"`
}

func newCheckpointSource(stream string, f *esclient.Filter) checkpointSource {
	s := checkpointSource{Stream: stream}
	if f != nil {
		s.StreamPrefixes, s.StreamRegex = f.StreamPrefixes, f.StreamRegex
		s.TypePrefixes, s.TypeRegex = f.TypePrefixes, f.TypeRegex
	}
	return s
}

// CheckpointSourceFromCtx returns the source of the checkpoint that a Subscriber loads or saves: the stream of the
// topic, the filter, and the id of the last event before the checkpoint, as text in ASCII. ctx is that of a call of a
// [Checkpoints] store, or that of a message for a store that saves [CheckpointToSave]. The text is empty if ctx is of
// neither. A store should keep the text of each save beside the checkpoint, and give it to [CheckCheckpointSource] in
// Load. Then Subscribe refuses the checkpoint of another stream, filter or log.
func CheckpointSourceFromCtx(ctx context.Context) string {
	if call := storeCallFrom(ctx); call != nil {
		return call.source()
	}
	d := deliveryFromCtx(ctx)
	if d == nil || d.s.keeper == nil {
		return ""
	}
	s := d.s.keeper.source
	s.Known, _ = d.event.KnownIn(d.s.stream)
	return s.String()
}

// source returns the text of a call's source; it is empty if the caller of the store is no Subscriber.
func (c *storeCall) source() string {
	if c == nil {
		return ""
	}
	s := c.keeper.source
	s.Known = c.known
	return s.String()
}

// CheckCheckpointSource returns an error that is [ErrCheckpointSource] if a Subscriber that goes on at a checkpoint
// would miss events: the checkpoint was saved with the text saved, of another stream, or with a filter that may have
// passed over events that the filter of now picks. ctx is that of the Load call of a [Checkpoints] store, which should
// change nothing and return this error. Without an error, Subscribe looks in the log for the event that the text names,
// and fails with [esclient.ErrLogWentBack] if the server has another log. An empty text, of a store or a version
// without sources, is no error.
func CheckCheckpointSource(ctx context.Context, saved string) error {
	call := storeCallFrom(ctx)
	if call == nil || saved == "" {
		return nil
	}
	var before checkpointSource
	if err := json.Unmarshal([]byte(saved), &before); err != nil {
		return fmt.Errorf("%w: its source is %q: %w", ErrCheckpointCorrupt, saved, err)
	}
	call.known, before.Known = before.Known, esclient.KnownEvent{}
	if s := call.keeper.source; !s.isWithin(before) {
		return fmt.Errorf("%w: it was saved for %s, and this subscription is to %s", ErrCheckpointSource, before, s)
	}
	return nil
}

// isWithin reports whether a subscription to before has certainly got all events of s.
func (s checkpointSource) isWithin(before checkpointSource) bool {
	switch {
	case s.Stream != before.Stream:
		return false
	case before.isUnfiltered():
		return true
	}
	return s.StreamRegex == before.StreamRegex && s.TypeRegex == before.TypeRegex &&
		areWithin(s.StreamPrefixes, before.StreamPrefixes) && areWithin(s.TypePrefixes, before.TypePrefixes)
}

func (s checkpointSource) isUnfiltered() bool {
	return len(s.StreamPrefixes) == 0 && s.StreamRegex == "" && len(s.TypePrefixes) == 0 && s.TypeRegex == ""
}

// areWithin reports whether a name that begins with one of the prefixes also begins with one of before. No prefixes
// are no test.
func areWithin(prefixes, before []string) bool {
	if len(prefixes) == 0 || len(before) == 0 {
		return len(before) == len(prefixes)
	}
	return !slices.ContainsFunc(prefixes, func(p string) bool {
		return !slices.ContainsFunc(before, func(b string) bool { return strings.HasPrefix(p, b) })
	})
}

// String returns JSON in ASCII, which every database stores as it is.
func (s checkpointSource) String() string {
	data, err := json.Marshal(s)
	if err != nil {
		return "" // strings can always be marshaled
	}
	var b strings.Builder
	for _, r := range string(data) {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}
