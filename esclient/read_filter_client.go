package esclient

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// ExcludeSystemEvents returns a Filter that picks the events of applications: neither the stream's name nor the event's
// type begins with "$". So it leaves out links, metadata, deletions of streams, statistics, and what the server stores
// of users, projections and groups. A server takes one test alone: it tests the streams, and the client the types.
func ExcludeSystemEvents() *Filter { return &Filter{StreamRegex: "^[^$]", noSystemTypes: true} }

// errNoFilters is the condition for which FilterInClient exists.
var errNoFilters = fmt.Errorf("%w: filters take a server from 20.6 on", ErrNotSupported)

// matcher is a filter that the client applies. It picks by the event of the log: the link, and not its target.
type matcher struct {
	onType        bool // the test is of the event's type; else of its stream's name
	prefixes      []string
	regex         *regexp.Regexp
	noSystemTypes bool
	interval      int // how many pushed events are looked at until the checkpoint moves
}

// besideServer returns what the client has to test although the server filters; nil for nothing.
func (f *Filter) besideServer() *matcher {
	if f == nil || !f.noSystemTypes {
		return nil
	}
	return &matcher{noSystemTypes: true, interval: f.CheckpointInterval}
}

// insteadOfServer returns the whole filter for the client.
func (f *Filter) insteadOfServer() (*matcher, error) {
	m := &matcher{
		onType: len(f.TypePrefixes) > 0 || f.TypeRegex != "", noSystemTypes: f.noSystemTypes,
		prefixes: slices.Concat(f.StreamPrefixes, f.TypePrefixes), interval: f.CheckpointInterval,
	}
	expression := f.StreamRegex + f.TypeRegex
	if expression == "" {
		return m, nil
	}
	field := "Filter.StreamRegex"
	if m.onType {
		field = "Filter.TypeRegex"
	}
	regex, err := regexp.Compile(expression)
	if err != nil {
		reason := fmt.Sprintf("the client has to filter for this server, and cannot: %v", err)
		return nil, fmt.Errorf("%w: %w", errNoFilters, &ArgumentError{Argument: field, Reason: reason})
	}
	m.regex = regex
	return m, nil
}

func (m *matcher) picks(stream, typ string) bool {
	if m.noSystemTypes && strings.HasPrefix(typ, "$") {
		return false
	}
	subject := stream
	if m.onType {
		subject = typ
	}
	if m.regex != nil {
		return m.regex.MatchString(subject)
	}
	for _, prefix := range m.prefixes {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return len(m.prefixes) == 0
}

// pick returns the events that are picked, in the memory of all. A nil matcher picks all.
func (m *matcher) pick(events []Event) []Event {
	if m == nil {
		return events
	}
	return slices.DeleteFunc(events, func(e Event) bool {
		o := e.Original()
		return !m.picks(o.Stream, o.Type)
	})
}

// picksPushed is picks for an event that was pushed and is not decoded further.
func (m *matcher) picksPushed(v *esproto.EventView) bool {
	r := &v.Event
	if v.HasLink {
		r = &v.Link
	}
	return m.picks(r.StreamID, r.EventType)
}

// filterInClient follows an error of the server. It reports whether the server knows no filters and the subscription
// goes on without them, because its options say so.
func (s *Subscription) filterInClient(failure error) (bool, error) {
	if s.filter == nil || !s.mayFilterHere || !errors.Is(failure, errNoFilters) {
		return false, failure
	}
	all, err := s.filter.insteadOfServer()
	if err != nil {
		return false, err
	}
	s.filter, s.picksHere = nil, all
	i := s.report.info()
	s.report.log(slog.LevelInfo, "the server knows no filters: the client filters", &i)
	return true, nil
}
