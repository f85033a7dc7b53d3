package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// eventJSON is an event as `read` and `tail` print it, and as `publish` reads it. Data is in one of three members, so
// that nothing of it is lost.
type eventJSON struct {
	Stream      string             `json:"stream"`
	Number      int64              `json:"number"`
	ID          string             `json:"id"`
	Type        string             `json:"type"`
	Created     *time.Time         `json:"created,omitempty"`
	Position    *esclient.Position `json:"position,omitempty"`
	ContentType string             `json:"content_type"`
	payloadJSON
	Link       *linkJSON `json:"link,omitempty"`
	Unresolved bool      `json:"unresolved,omitempty"`
	RetryCount int       `json:"retry_count,omitempty"`
}

type payloadJSON struct {
	Data           json.RawMessage `json:"data,omitempty"`
	DataText       string          `json:"data_text,omitempty"`
	DataBase64     []byte          `json:"data_base64,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
	MetadataText   string          `json:"metadata_text,omitempty"`
	MetadataBase64 []byte          `json:"metadata_base64,omitempty"`
}

// linkJSON is the link that an event came by.
type linkJSON struct {
	Stream string `json:"stream"`
	Number int64  `json:"number"`
	ID     string `json:"id"`
}

func asJSON(e *esclient.Event) eventJSON {
	j := eventJSON{
		Stream: e.Stream, Number: e.Number, ID: e.ID.String(), Type: e.Type, ContentType: e.ContentType.String(),
		Unresolved: e.Unresolved, RetryCount: int(e.RetryCount),
	}
	if !e.Created.IsZero() {
		created := e.Created.Time()
		j.Created = &created
	}
	if e.Position != esclient.UnknownPosition {
		j.Position = &e.Position
	}
	if e.Link != nil {
		j.Link = &linkJSON{Stream: e.Link.Stream, Number: e.Link.Number, ID: e.Link.ID.String()}
	}
	j.Data, j.DataText, j.DataBase64 = inJSON(e.Data, e.ContentType == esclient.ContentTypeJSON)
	j.Metadata, j.MetadataText, j.MetadataBase64 = inJSON(e.Metadata, true)
	return j
}

// inJSON returns bytes as JSON if they are some, else as text if they are UTF-8, else as they are.
func inJSON(b []byte, mayBeJSON bool) (asIs json.RawMessage, text string, raw []byte) {
	switch {
	case !utf8.Valid(b):
		return nil, "", b
	case mayBeJSON && json.Valid(b):
		return b, "", nil
	}
	return nil, string(b), nil
}

// printEvent prints an event as a line.
func (c *cli) printEvent(e *esclient.Event, metadata bool) error {
	if c.json {
		return c.printJSON(asJSON(e))
	}
	var b strings.Builder
	if e.Position != esclient.UnknownPosition {
		fmt.Fprintf(&b, "%s ", e.Position)
	}
	fmt.Fprintf(&b, "%s/%d %s %s", printable(e.Stream), e.Number, printable(e.Type), at(e.Created.Time()))
	if e.Link != nil {
		fmt.Fprintf(&b, " by %s/%d", printable(e.Link.Stream), e.Link.Number)
	}
	if e.Unresolved {
		b.WriteString(" unresolved")
	}
	fmt.Fprintf(&b, " %s", payloadText(e.Data))
	if metadata && len(e.Metadata) > 0 {
		fmt.Fprintf(&b, " meta=%s", payloadText(e.Metadata))
	}
	_, err := fmt.Fprintln(c.out, b.String())
	return err
}

// payloadText shows bytes in one line.
func payloadText(b []byte) string {
	if !utf8.Valid(b) {
		return fmt.Sprintf("(%d bytes)", len(b))
	}
	var compact bytes.Buffer
	if json.Compact(&compact, b) == nil {
		b = compact.Bytes()
	}
	return printable(strings.TrimSpace(string(b)))
}

// parseStart reads --from: start, end, a number, a position such as C:1/P:1, or after: and one of the last two.
func parseStart(s string) (start esclient.Start, err error) {
	if s == "" {
		return start, nil
	}
	text := s
	if s != "start" && s != "end" && !strings.HasPrefix(s, "after:") {
		text = "from:" + s
	}
	if err := start.UnmarshalText([]byte(text)); err != nil {
		return start, &usageError{fmt.Errorf(
			"--from %q is none of start, end, 5, C:1024/P:1024, after:5 and after:C:1024/P:1024", s)}
	}
	return start, nil
}
