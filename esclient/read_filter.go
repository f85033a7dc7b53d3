package esclient

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Defaults of Filter.
const (
	DefaultSearchWindow       = 4096
	DefaultCheckpointInterval = 1000
)

// Filter makes the server pick events of $all by the name of their stream or by their type. Exactly one of
// StreamPrefixes, StreamRegex, TypePrefixes and TypeRegex must be set. A link is picked by its own stream and type, not
// by those of its target.
//
// Filters need a server from 20.6 on; others answer with ErrNotSupported. A subscription can make the client filter
// instead; see CatchUpOptions.FilterInClient.
//
// The server's regular expressions are those of .NET, the client's those of Go. Go refuses lookaheads, lookbehinds,
// back references and atomic groups. In .NET, \d, \w, \s and \b apply to all scripts, in Go to ASCII only; in .NET, $
// also matches before a line break at the end. Letters, digits, ^, |, *, +, ?, [a-z] and \p{L} mean the same in both.
type Filter struct {
	// StreamPrefixes pick the events of streams whose names begin with one of the prefixes. TypePrefixes do the same
	// for types.
	StreamPrefixes []string
	TypePrefixes   []string
	// StreamRegex picks the events of streams whose names match the regular expression at any place. TypeRegex does the
	// same for types. The syntax is that of .NET. `^[^$]` leaves out the server's own events.
	StreamRegex string
	TypeRegex   string

	// SearchWindow is how many events the server looks at for one page; 0 means DefaultSearchWindow. If the filter
	// picks few events, a larger window needs fewer requests, and each request takes longer.
	SearchWindow int
	// CheckpointInterval is how many events the server, or the client, looks at between two checkpoints; see
	// Subscription.Checkpoint. 0 means DefaultCheckpointInterval. If checkpoints are stored on the same server, do not
	// make it small: each stored checkpoint is an event that leads to the next checkpoint.
	CheckpointInterval int

	noSystemTypes bool // see ExcludeSystemEvents
}

// Validate returns an *ArgumentError for a filter that SubscribeCatchUp and other methods refuse.
func (f *Filter) Validate() error {
	_, err := f.ready(AllStream)
	return err
}

// ready returns a valid copy with defaults, for a read or a subscription of a stream; nil for nil.
func (f *Filter) ready(stream string) (*Filter, error) {
	if f == nil {
		return nil, nil
	}
	if stream != AllStream {
		return nil, &ArgumentError{Argument: "Filter", Reason: "only " + AllStream + " can be filtered"}
	}
	if err := f.validateTest(); err != nil {
		return nil, err
	}
	c := *f
	for _, n := range []struct {
		field string
		v     *int
		def   int
	}{
		{"SearchWindow", &c.SearchWindow, DefaultSearchWindow},
		{"CheckpointInterval", &c.CheckpointInterval, DefaultCheckpointInterval},
	} {
		if *n.v == 0 {
			*n.v = n.def
		}
		if *n.v < 1 || *n.v > math.MaxInt32 {
			reason := fmt.Sprintf("%d is not between 1 and %d", *n.v, math.MaxInt32)
			return nil, &ArgumentError{Argument: "Filter." + n.field, Reason: reason}
		}
	}
	return &c, nil
}

// validateTest checks that there is exactly one test, and that it can be sent.
func (f *Filter) validateTest() error {
	var set []string
	for _, test := range []struct {
		field string
		data  []string
	}{
		{"StreamPrefixes", f.StreamPrefixes}, {"TypePrefixes", f.TypePrefixes},
		{"StreamRegex", one(f.StreamRegex)}, {"TypeRegex", one(f.TypeRegex)},
	} {
		if len(test.data) > 0 {
			set = append(set, test.field)
		}
		for _, s := range test.data {
			if s == "" || !utf8.ValidString(s) {
				reason := fmt.Sprintf("%q is empty or not valid UTF-8", s)
				return &ArgumentError{Argument: "Filter." + test.field, Reason: reason}
			}
		}
	}
	switch len(set) {
	case 0:
		return &ArgumentError{Argument: "Filter", Reason: "it is empty: set prefixes or a regular expression"}
	case 1:
		return nil
	}
	reason := strings.Join(set, " and ") + " are set, but a server takes only one"
	return &ArgumentError{Argument: "Filter", Reason: reason}
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// message returns the filter in the protocol's form.
func (f *Filter) message() *esproto.Filter {
	m := &esproto.Filter{Context: esproto.Filter_StreamId.Enum(), Type: esproto.Filter_Prefix.Enum()}
	if len(f.TypePrefixes) > 0 || f.TypeRegex != "" {
		m.Context = esproto.Filter_EventType.Enum()
	}
	switch {
	case f.StreamRegex != "" || f.TypeRegex != "":
		m.Type, m.Data = esproto.Filter_Regex.Enum(), one(f.StreamRegex+f.TypeRegex)
	case len(f.TypePrefixes) > 0:
		m.Data = f.TypePrefixes
	default:
		m.Data = f.StreamPrefixes
	}
	return m
}

// appendRead appends the request for a page. The server looks at up to window events.
func (f *Filter) appendRead(b []byte, from Position, count, window int32, r *pageRequest) []byte {
	return appendMessage(b, &esproto.FilteredReadAllEvents{
		CommitPosition:  proto.Int64(from.Commit),
		PreparePosition: proto.Int64(from.Prepare),
		MaxCount:        proto.Int32(count),
		MaxSearchWindow: proto.Int32(window),
		ResolveLinkTos:  proto.Bool(r.resolveLinks),
		RequireLeader:   proto.Bool(r.requireLeader),
		Filter:          f.message(),
	})
}

// appendSubscribe appends the request for a subscription.
func (f *Filter) appendSubscribe(b []byte, resolveLinks bool) []byte {
	return appendMessage(b, &esproto.FilteredSubscribeToStream{
		EventStreamId:      proto.String(""),
		ResolveLinkTos:     proto.Bool(resolveLinks),
		Filter:             f.message(),
		CheckpointInterval: proto.Int32(int32(f.CheckpointInterval)),
	})
}

// explain distinguishes a server without filters from one that refuses this filter. Both answer BadRequest, but the
// text has a number instead of a name for an unknown command.
func (f *Filter) explain(err error) error {
	var refused *BadRequestError
	if f == nil || !errors.As(err, &refused) {
		return err
	}
	if strings.Contains(refused.Text, "Filtered") {
		return fmt.Errorf("%w: the server refuses the filter: %w", ErrServer, err)
	}
	return fmt.Errorf("%w: %w", errNoFilters, err)
}
