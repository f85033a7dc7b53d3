package estest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// httpAppend appends the events of the body. A single one without an id is to be sent to a path that has one, so that
// it may be sent again.
func (s *Server) httpAppend(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	id := r.Header.Get("ES-EventId")
	mediaType := bodyType(r)
	several := mediaType == typeEventsJSON || mediaType == typeEventJSON
	switch {
	case !several && !isSingle(mediaType) && mediaType != typeAtomJSON:
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case !several && r.Header.Get("ES-EventType") == "":
		badRequest(w, "Must include an event type with the request either in body or as ES-EventType header.")
	case id != "" && !isEventID(id):
		badRequest(w, "ES-EventId header in wrong format.")
	case !several && id == "":
		w.Header().Set("Location", s.HTTPURL()+sentURL(r).EscapedPath()+"/incoming/"+uuid.NewString())
		writeText(w, http.StatusTemporaryRedirect, "Forwarding to idempotent URI")
	default:
		s.appendBody(w, r, u, mediaType, id)
	}
}

// httpAppendOnce appends one event whose id is in the path.
func (s *Server) httpAppendOnce(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	id, mediaType := r.PathValue("id"), bodyType(r)
	switch {
	case !isSingle(mediaType) && mediaType != typeAtomJSON || mediaType == typeRaw:
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case !isEventID(id):
		badRequest(w, "Invalid request. Unable to parse guid")
	default:
		s.appendBody(w, r, u, mediaType, id)
	}
}

// isSingle reports whether a body of a media type is the data of one event.
func isSingle(mediaType string) bool {
	return slices.Contains([]string{typeJSON, typeXML, typeAppXML, typeRaw}, mediaType)
}

func isEventID(text string) bool {
	id, err := uuid.Parse(text)
	return err == nil && id != uuid.Nil
}

func (s *Server) appendBody(w http.ResponseWriter, r *http.Request, u *eventlog.User, mediaType, id string) {
	stream, expected := r.PathValue("stream"), esproto.ExpectAny
	if text := r.Header.Get("ES-ExpectedVersion"); text != "" {
		var err error
		if expected, err = strconv.ParseInt(text, 10, 64); err != nil || checkWrite(
			stream, expected, esproto.ExpectStreamExists) != nil {
			badRequest(w, "ES-ExpectedVersion header in wrong format.")
			return
		}
	}
	body, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		badRequest(w, err.Error())
		return
	}
	views, err := parseEvents(body, mediaType, id, r.Header.Get("ES-EventType"))
	if err != nil {
		badRequest(w, err.Error())
		return
	}
	if slices.ContainsFunc(views, func(e esproto.NewEventView) bool { return len(e.Data)+len(e.Metadata) > 4<<20 }) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	events, err := s.core.persona.checkEvents(views, nil)
	if err != nil {
		badRequest(w, err.Error())
		return
	}
	if !s.lockToServe(r) {
		return
	}
	o := s.core.log.Append(u, stream, expected, events)
	s.core.mu.Unlock()
	s.writeAppended(w, stream, &o)
}

func (s *Server) writeAppended(w http.ResponseWriter, stream string, o *eventlog.Outcome) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch o.Result {
	case esproto.OperationResult_Success:
		w.Header().Set("Location", s.streamURL(stream)+"/"+strconv.FormatInt(o.First, 10))
		w.WriteHeader(http.StatusCreated)
		return
	case esproto.OperationResult_WrongExpectedVersion:
		w.Header().Set("ES-CurrentVersion", strconv.FormatInt(o.Current, 10))
	case esproto.OperationResult_AccessDenied:
		unauthorized(w)
		return
	}
	w.WriteHeader(statusOf(o.Result))
}

var errBadEvents = errors.New("Write request body invalid.") //nolint:revive,staticcheck // the words of servers

// parseEvents returns the events of a body: one event with the body as its data, or the events of a list.
func parseEvents(body []byte, mediaType, id, typ string) ([]esproto.NewEventView, error) {
	if isSingle(mediaType) {
		e := esproto.NewEventView{EventID: eventID(id), EventType: typ, Data: body}
		if mediaType == typeJSON {
			e.DataContentType = esproto.ContentTypeJSON
		}
		return []esproto.NewEventView{e}, nil
	}
	var list []struct {
		EventID   string          `json:"eventId"`
		EventType string          `json:"eventType"`
		Data      json.RawMessage `json:"data"`
		Metadata  json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(body, &list); err != nil || len(list) == 0 {
		return nil, errBadEvents
	}
	events := make([]esproto.NewEventView, len(list))
	for i := range list {
		switch l := &list[i]; {
		case l.EventID == "":
			return nil, errors.New("Empty eventId provided.") //nolint:revive,staticcheck // as above
		case eventID(l.EventID) == nil:
			return nil, errBadEvents
		case l.EventType == "":
			return nil, errors.New("Empty eventType provided.") //nolint:revive,staticcheck // as above
		default:
			data, isJSON := bytesOf(l.Data)
			metadata, alsoJSON := bytesOf(l.Metadata)
			events[i] = esproto.NewEventView{
				EventID: eventID(l.EventID), EventType: l.EventType, Data: data, Metadata: metadata,
			}
			if isJSON || alsoJSON {
				events[i].DataContentType = esproto.ContentTypeJSON
			}
		}
	}
	return events, nil
}

// eventID returns an id in the form of the protocol; nil if the text is no id.
func eventID(text string) []byte {
	id, err := uuid.Parse(text)
	if err != nil {
		return nil
	}
	guid := esproto.NewGUID(id)
	return guid[:]
}

// bytesOf returns the data that servers store for a value in a list: they indent objects and arrays, even inside a
// string, keep other strings as text, and lose everything else.
func bytesOf(value json.RawMessage) (data []byte, isJSON bool) {
	var text string
	if json.Unmarshal(value, &text) == nil {
		if object, ok := asObject([]byte(text)); ok {
			return object, true
		}
		return []byte(text), false
	}
	return asObject(value)
}

func asObject(value []byte) (data []byte, ok bool) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '{' && value[0] != '[' {
		return nil, false
	}
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return nil, false
	}
	return b.Bytes(), true
}
