package esclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MarshalText implements encoding.TextMarshaler: the text is that of String. It fails with an *ArgumentError for a
// negative position that is not EndPosition.
func (p Position) MarshalText() ([]byte, error) {
	if !p.meansSomething() {
		return nil, &ArgumentError{Argument: "Position", Reason: fmt.Sprintf("%v is no position of a log", p)}
	}
	return []byte(p.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It accepts only what MarshalText returns. An error is an
// *ArgumentError and leaves p as it is.
func (p *Position) UnmarshalText(text []byte) error {
	q, err := parsePosition(string(text))
	if err != nil {
		return notText("Position", text, err)
	}
	*p = q
	return nil
}

// MarshalJSON implements json.Marshaler: a string with the text of MarshalText, whose errors it returns.
func (p Position) MarshalJSON() ([]byte, error) { return marshalJSON(p.MarshalText()) }

// UnmarshalJSON implements json.Unmarshaler. It accepts only a string that UnmarshalText accepts, so not null. An error
// leaves p as it is.
func (p *Position) UnmarshalJSON(data []byte) error {
	return unmarshalJSON("Position", data, p.UnmarshalText)
}

func (p Position) meansSomething() bool { return p.Commit >= 0 && p.Prepare >= 0 || p == EndPosition }

// The text of a Start is one of these. The last two have an event number or a position after them.
const (
	textDefault   = "default"
	textBeginning = "start"
	textEnd       = "end"
	textFrom      = "from:"
	textAfter     = "after:"
)

// MarshalText implements encoding.TextMarshaler. The text is "default" for the zero Start, "start", "end", "from:5",
// "after:5", "from:C:1024/P:1024" or "after:C:1024/P:1024". It fails with an *ArgumentError for a Start that no stream
// can begin at, such as one with a negative number.
func (s Start) MarshalText() ([]byte, error) {
	stream := ""
	if s.kind == startPosition {
		stream = AllStream
	}
	if err := s.validate("Start", stream); err != nil {
		return nil, err
	}
	text := textAfter
	if s.included {
		text = textFrom
	}
	switch s.kind {
	case startBeginning:
		text = textBeginning
	case startEnd:
		text = textEnd
	case startNumber:
		text += strconv.FormatInt(s.number, 10)
	case startPosition:
		text += s.position.String()
	default:
		text = textDefault
	}
	return []byte(text), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It accepts only what MarshalText returns. An error is an
// *ArgumentError and leaves s as it is.
func (s *Start) UnmarshalText(text []byte) error {
	parsed, err := parseStart(string(text))
	if err != nil {
		return notText("Start", text, err)
	}
	*s = parsed
	return nil
}

func parseStart(s string) (Start, error) {
	switch s {
	case textDefault:
		return Start{}, nil
	case textBeginning:
		return FromStart(), nil
	case textEnd:
		return FromEnd(), nil
	case textAfter + "-1": // the only valid negative number
		return AfterNumber(-1), nil
	}
	where, included := strings.CutPrefix(s, textFrom)
	if !included {
		var after bool
		if where, after = strings.CutPrefix(s, textAfter); !after {
			return Start{}, errors.New("it begins with no known word")
		}
	}
	start := Start{kind: startNumber, included: included}
	var err error
	if isDigit(where) {
		start.number, err = parseNumber(where)
		return start, err
	}
	start.kind = startPosition
	start.position, err = parsePosition(where)
	if err == nil && start.position == EndPosition {
		err = errors.New("no read can begin there")
	}
	return start, err
}

// MarshalJSON implements json.Marshaler: a string with the text of MarshalText, whose errors it returns.
func (s Start) MarshalJSON() ([]byte, error) { return marshalJSON(s.MarshalText()) }

// UnmarshalJSON implements json.Unmarshaler. It accepts only a string that UnmarshalText accepts, so not null. An error
// leaves s as it is.
func (s *Start) UnmarshalJSON(data []byte) error {
	return unmarshalJSON("Start", data, s.UnmarshalText)
}

func isDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

var errNotCanonical = errors.New("a number is not in the form that this package writes")

// parseNumber parses a number that is not negative, written as strconv writes it.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return 0, errors.Unwrap(err)
	case strconv.FormatInt(n, 10) != s:
		return 0, errNotCanonical
	}
	return n, nil
}

// parsePosition parses the text that Position.String returns.
func parsePosition(s string) (p Position, err error) {
	if s == EndPosition.String() {
		return EndPosition, nil
	}
	commit, prepare, ok := strings.Cut(s, "/")
	commit, isCommit := strings.CutPrefix(commit, "C:")
	prepare, isPrepare := strings.CutPrefix(prepare, "P:")
	if !ok || !isCommit || !isPrepare || !isDigit(commit) || !isDigit(prepare) {
		return Position{}, errors.New("a position is written as C:1024/P:1024")
	}
	if p.Commit, err = parseNumber(commit); err != nil {
		return Position{}, err
	}
	p.Prepare, err = parseNumber(prepare)
	return p, err
}

// maxTextInError limits how much of an invalid text an error shows.
const maxTextInError = 100

func notText(kind string, text []byte, err error) error {
	shown := text[:min(len(text), maxTextInError)]
	return &ArgumentError{Argument: kind, Reason: fmt.Sprintf("%q cannot be read: %v", shown, err)}
}

func marshalJSON(text []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(text))
}

func unmarshalJSON(kind string, data []byte, unmarshalText func([]byte) error) error {
	var s *string
	switch err := json.Unmarshal(data, &s); {
	case err != nil:
		return notText(kind, data, err)
	case s == nil:
		return notText(kind, data, errors.New("a string is needed"))
	}
	return unmarshalText([]byte(*s))
}
