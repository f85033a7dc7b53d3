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
// type begins with "$". So it leaves out links, metadata, deletions of streams, statistics, and the server's events
// about users, projections and groups. Since a server takes only one test, the server tests the streams, and the client
// the types.
func ExcludeSystemEvents() *Filter { return &Filter{StreamRegex: "^[^$]", noSystemTypes: true} }

// errNoFilters is the error that FilterInClient avoids.
var errNoFilters = fmt.Errorf("%w: filters need a server from 20.6 on", ErrNotSupported)

// matcher is a filter in the client. It tests the event in the log: the link, and not its target.
type matcher struct {
	onType        bool // tests the event's type; otherwise the name of its stream
	prefixes      []string
	regex         *regexp.Regexp
	noSystemTypes bool
	interval      int // the number of pushed events after which the checkpoint moves
}

// besideServer returns the test that the client adds to the server's filter; nil for none.
func (f *Filter) besideServer() *matcher {
	if f == nil || !f.noSystemTypes {
		return nil
	}
	return &matcher{noSystemTypes: true, interval: f.CheckpointInterval}
}

// insteadOfServer returns a matcher for the whole filter.
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
		reason := fmt.Sprintf("the server has no filters, and the client cannot apply this one: %v", err)
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

// pick returns the picked events, in the memory of all. A nil matcher picks all.
func (m *matcher) pick(events []Event) []Event {
	if m == nil {
		return events
	}
	return slices.DeleteFunc(events, func(e Event) bool {
		o := e.Original()
		return !m.picks(o.Stream, o.Type)
	})
}

// picksPushed is picks for a pushed event that is not decoded yet.
func (m *matcher) picksPushed(v *esproto.EventView) bool {
	r := &v.Event
	if v.HasLink {
		r = &v.Link
	}
	return m.picks(r.StreamID, r.EventType)
}

// filterInClient reacts to an error of the server. It reports whether the server has no filters and the client filters
// from now on, because the options allow that.
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
	s.report.log(slog.LevelInfo, "the server has no filters: the client filters", &i)
	return true, nil
}
