// Package notation knows how servers write names and times: valid names, names of system streams, and times.
package notation

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// Problem returns why a name of a stream, a group or a user is invalid; "" if it is valid.
func Problem(name string) string {
	if name == "" {
		return "it is empty"
	}
	if printable(name) {
		return ""
	}
	if !utf8.ValidString(name) {
		return fmt.Sprintf("%q is not valid UTF-8", name)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Sprintf("%q has a control character", name)
		}
	}
	return ""
}

// printable reports whether a name is plain ASCII, as most are.
func printable(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return true
}

// ParkedStream is the name of the stream with the parked events of a group.
func ParkedStream(stream, group string) string {
	return "$persistentsubscription-" + stream + "::" + group + "-parked"
}

// ParseTime parses a time in a server's format, with or without an offset, which is that of the server. It returns the
// zero time for any other text.
func ParseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
