package eventlog

import (
	"encoding/json"
	"strings"
)

// projectionSettings are the settings in the source of a standard projection.
type projectionSettings struct {
	separator   string // between the category of a stream and the rest of its name
	last        bool   // the last separator counts, not the first
	correlation string // the member of an event's metadata that has its correlation id
}

// noSource reads the source of a projection that has none. Like the functions below, it returns the problem with the
// source; an empty text without one.
func noSource(source string) (s projectionSettings, problem string) {
	if strings.TrimSpace(source) != "" {
		problem = "Empty source expected"
	}
	return s, problem
}

// categorySource reads a separator, or a line with first or last and a line with the separator.
func categorySource(source string) (s projectionSettings, problem string) {
	if trimmed := strings.TrimSpace(source); len([]rune(trimmed)) == 1 {
		return projectionSettings{separator: trimmed, last: true}, ""
	}
	const wrong = "Cannot initialize categorization projection handler.  "
	which, separator, ok := strings.Cut(strings.TrimSpace(source), "\n")
	switch which = strings.ToLower(strings.TrimSpace(which)); {
	case !ok:
		problem = wrong + "Invalid configuration"
	case which != "first" && which != "last":
		problem = wrong + "Invalid direction specifier.  Expected 'first' or 'last'."
	case len([]rune(separator)) != 1:
		problem = wrong + "Single separator expected."
	}
	return projectionSettings{separator: separator, last: which == "last"}, problem
}

// correlationSource reads a JSON object with the name of the member for the correlation id.
func correlationSource(source string) (s projectionSettings, problem string) {
	s.correlation = correlationMember
	if strings.TrimSpace(source) == "" {
		return s, ""
	}
	var m struct {
		Property *string `json:"correlationIdProperty"`
	}
	if json.Unmarshal([]byte(source), &m) != nil || m.Property == nil {
		return s, "Could not parse projection source. Please make sure the source is a valid JSON string with a " +
			"property: 'correlationIdProperty' having a string value"
	}
	s.correlation = *m.Property
	return s, ""
}

// categoryOf returns the part of a stream's name before the separator. The server's own streams have no category.
func (s *projectionSettings) categoryOf(stream string) (category string, ok bool) {
	if strings.HasPrefix(stream, "$") {
		return "", false
	}
	find := strings.Index
	if s.last {
		find = strings.LastIndex
	}
	if i := find(stream, s.separator); i > 0 {
		return stream[:i], true
	}
	return "", false
}
