package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// longestLine is in bytes. Data of the largest event, as base64 and in JSON, is less.
const longestLine = 32 << 20

// errNoLine is the end of the input.
var errNoLine = errors.New("no more lines")

// readLine returns the next line, or the error of a context that ends before it is there.
func readLine(ctx context.Context, lines *bufio.Reader) (string, error) {
	return wait(ctx, func() (string, error) {
		var line []byte
		for {
			part, err := lines.ReadSlice('\n')
			if line = append(line, part...); len(line) > longestLine {
				return "", &usageError{fmt.Errorf("is longer than %d bytes", longestLine)}
			}
			switch {
			case err == nil:
				return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))), nil
			case errors.Is(err, bufio.ErrBufferFull):
			case errors.Is(err, io.EOF) && len(line) > 0:
				return string(line), nil
			case errors.Is(err, io.EOF):
				return "", errNoLine
			default:
				return "", err
			}
		}
	})
}

func isJSON(b []byte) bool { return utf8.Valid(b) && json.Valid(b) }

// event makes an event of a line.
func (f *publishFlags) event(line []byte) (event esclient.EventData, err error) {
	switch {
	case f.text:
		event = esclient.EventData{Type: f.eventType, Data: line}
	case len(bytes.TrimSpace(line)) == 0:
		return event, &usageError{errors.New("is empty")}
	case f.eventType != "":
		if !isJSON(line) {
			return event, &usageError{errors.New("is not JSON; with --text it need not be")}
		}
		event = esclient.EventData{Type: f.eventType, ContentType: esclient.ContentTypeJSON, Data: line}
	default:
		if event, err = eventOf(line); err != nil {
			return event, &usageError{err}
		}
	}
	if event.Metadata == nil && f.metadata != "" {
		event.Metadata = []byte(f.metadata)
	}
	return event, nil
}

// eventOf reads an event as `read --json` prints it.
func eventOf(line []byte) (event esclient.EventData, err error) {
	var j eventJSON
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&j); err != nil {
		return event, fmt.Errorf("is no event in JSON: %w", err)
	}
	if decoder.More() {
		return event, errors.New("has more than one JSON object")
	}
	if j.ID != "" {
		if event.ID, err = uuid.Parse(j.ID); err != nil {
			return event, fmt.Errorf("has an id that is no UUID: %w", err)
		}
	}
	event.Type = j.Type
	if event.Data, err = oneOf(j.Data, j.DataText, j.DataBase64); err != nil {
		return event, fmt.Errorf("data: %w", err)
	}
	if event.Metadata, err = oneOf(j.Metadata, j.MetadataText, j.MetadataBase64); err != nil {
		return event, fmt.Errorf("metadata: %w", err)
	}
	switch {
	case j.ContentType == "json", j.ContentType == "" && j.Data != nil:
		event.ContentType = esclient.ContentTypeJSON
	case j.ContentType != "" && j.ContentType != "binary":
		return event, fmt.Errorf("content_type is %q, which is neither json nor binary", j.ContentType)
	}
	return event, nil
}

// oneOf returns a payload that was given in one of its forms.
func oneOf(asIs json.RawMessage, text string, raw []byte) ([]byte, error) {
	var given [][]byte
	for _, form := range [][]byte{asIs, []byte(text), raw} {
		if len(form) > 0 {
			given = append(given, form)
		}
	}
	switch len(given) {
	case 0:
		return nil, nil
	case 1:
		return given[0], nil
	}
	return nil, errors.New("is there in more than one form")
}
