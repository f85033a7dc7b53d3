package estest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// messageTypes are the payloads of the commands that occur in the recordings; that of others is empty or anything.
var messageTypes = map[esproto.Command]proto.Message{
	esproto.CmdWriteEvents:                               &esproto.WriteEvents{},
	esproto.CmdWriteEventsCompleted:                      &esproto.WriteEventsCompleted{},
	esproto.CmdTransactionStart:                          &esproto.TransactionStart{},
	esproto.CmdTransactionStartCompleted:                 &esproto.TransactionStartCompleted{},
	esproto.CmdTransactionWrite:                          &esproto.TransactionWrite{},
	esproto.CmdTransactionWriteCompleted:                 &esproto.TransactionWriteCompleted{},
	esproto.CmdTransactionCommit:                         &esproto.TransactionCommit{},
	esproto.CmdTransactionCommitCompleted:                &esproto.TransactionCommitCompleted{},
	esproto.CmdDeleteStreamCompleted:                     &esproto.DeleteStreamCompleted{},
	esproto.CmdReadEventCompleted:                        &esproto.ReadEventCompleted{},
	esproto.CmdReadStreamEventsForwardCompleted:          &esproto.ReadStreamEventsCompleted{},
	esproto.CmdReadStreamEventsBackwardCompleted:         &esproto.ReadStreamEventsCompleted{},
	esproto.CmdReadAllEventsForward:                      &esproto.ReadAllEvents{},
	esproto.CmdReadAllEventsForwardCompleted:             &esproto.ReadAllEventsCompleted{},
	esproto.CmdReadAllEventsBackward:                     &esproto.ReadAllEvents{},
	esproto.CmdReadAllEventsBackwardCompleted:            &esproto.ReadAllEventsCompleted{},
	esproto.CmdFilteredReadAllEventsForward:              &esproto.FilteredReadAllEvents{},
	esproto.CmdFilteredReadAllEventsForwardCompleted:     &esproto.FilteredReadAllEventsCompleted{},
	esproto.CmdFilteredReadAllEventsBackward:             &esproto.FilteredReadAllEvents{},
	esproto.CmdFilteredReadAllEventsBackwardCompleted:    &esproto.FilteredReadAllEventsCompleted{},
	esproto.CmdCheckpointReached:                         &esproto.CheckpointReached{},
	esproto.CmdSubscriptionConfirmation:                  &esproto.SubscriptionConfirmation{},
	esproto.CmdStreamEventAppeared:                       &esproto.StreamEventAppeared{},
	esproto.CmdSubscriptionDropped:                       &esproto.SubscriptionDropped{},
	esproto.CmdPersistentSubscriptionConfirmation:        &esproto.PersistentSubscriptionConfirmation{},
	esproto.CmdPersistentSubscriptionStreamEventAppeared: &esproto.PersistentSubscriptionStreamEventAppeared{},
	esproto.CmdCreatePersistentSubscriptionCompleted:     &esproto.CreatePersistentSubscriptionCompleted{},
	esproto.CmdUpdatePersistentSubscriptionCompleted:     &esproto.UpdatePersistentSubscriptionCompleted{},
	esproto.CmdDeletePersistentSubscriptionCompleted:     &esproto.DeletePersistentSubscriptionCompleted{},
	esproto.CmdPersistentSubscriptionAckEvents:           &esproto.PersistentSubscriptionAckEvents{},
	esproto.CmdPersistentSubscriptionNakEvents:           &esproto.PersistentSubscriptionNakEvents{},
	esproto.CmdScavengeDatabaseResponse:                  &esproto.ScavengeDatabaseResponse{},
	esproto.CmdNotHandled:                                &esproto.NotHandled{},
}

// parse reads a payload; nil if it is no message or none that parses.
func parse(cmd string, b []byte) proto.Message {
	typ := messageTypes[commandOf(cmd)]
	if typ == nil {
		return nil
	}
	m := typ.ProtoReflect().New().Interface()
	if proto.Unmarshal(b, m) != nil {
		return nil
	}
	return m
}

// own takes the events of other scenarios out of a read of $all.
func own(m proto.Message, suffix string) protoreflect.Message {
	all, ok := m.(*esproto.ReadAllEventsCompleted)
	if !ok {
		return m.ProtoReflect()
	}
	kept, _ := proto.Clone(all).(*esproto.ReadAllEventsCompleted)
	kept.Events = slices.DeleteFunc(kept.Events, func(e *esproto.ResolvedEvent) bool {
		return !strings.Contains(e.GetEvent().GetEventStreamId(), suffix) &&
			!strings.Contains(e.GetLink().GetEventStreamId(), suffix)
	})
	return kept.ProtoReflect()
}

// optionalFields are fields that the protocol does not require: their default is the same as their absence. A name with
// a message counts for that message, a name without one for all messages.
var optionalFields = map[string]bool{
	"message": true, "error": true, "metadata": true, "link": true, "created": true,
	"created_epoch": true, "retryCount": true, "additional_info": true, "scavengeId": true,
	"WriteEventsCompleted.prepare_position": true, "WriteEventsCompleted.commit_position": true,
	"WriteEventsCompleted.current_version":   true,
	"DeleteStreamCompleted.prepare_position": true, "DeleteStreamCompleted.commit_position": true,
	"TransactionCommitCompleted.prepare_position": true, "TransactionCommitCompleted.commit_position": true,
	"ReadAllEventsCompleted.result": true, "FilteredReadAllEventsCompleted.result": true,
	"SubscriptionConfirmation.last_event_number":           true,
	"PersistentSubscriptionConfirmation.last_event_number": true,
	"SubscriptionDropped.reason":                           true,
	"CreatePersistentSubscriptionCompleted.reason":         true,
	"UpdatePersistentSubscriptionCompleted.reason":         true,
	"DeletePersistentSubscriptionCompleted.reason":         true,
}

func isOptional(field protoreflect.FieldDescriptor) bool {
	name := string(field.Name())
	return optionalFields[name] || optionalFields[string(field.Parent().Name())+"."+name]
}

// reader gives the answers of one server a form that can be compared with those of another.
type reader struct {
	sc        *scenario
	positions []int64 // of records, sorted
	ids       map[string]string
	tx        map[int64]string
}

// compare holds the steps of both servers against each other.
func (p *player) compare() {
	recorded, ours := p.readAll(p.recorded), p.readAll(p.answered)
	for i := range recorded {
		if recorded[i] != ours[i] {
			p.fail("step %q:\nthe real server\n%s\nours\n%s", p.recorded[i].title, recorded[i], ours[i])
		}
	}
}

func (p *player) readAll(steps []side) (texts []string) {
	r := &reader{sc: p.sc, ids: map[string]string{}, tx: map[int64]string{}}
	for _, st := range steps {
		for _, s := range st.said {
			if s.msg != nil {
				r.gather(own(s.msg, p.sc.Suffix))
			}
		}
	}
	slices.Sort(r.positions)
	r.positions = slices.Compact(r.positions)
	for i, st := range steps {
		sort.SliceStable(st.said, func(a, b int) bool {
			x, y := &st.said[a], &st.said[b]
			return x.conn < y.conn || x.conn == y.conn && st.order == "correlation" && x.corr < y.corr
		})
		var b strings.Builder
		for _, s := range st.said {
			if ignore := p.sc.Steps[i].Ignore; !slices.Contains(ignore, s.cmd) {
				fmt.Fprintf(&b, "  %d %s %s %d %s\n", s.conn, s.cmd, s.corr, s.flags, r.text(&s, ignore))
			}
		}
		texts = append(texts, b.String())
	}
	return texts
}

// succeeded reports whether the positions of a message mean something.
func succeeded(m protoreflect.Message) bool {
	field := m.Descriptor().Fields().ByName("result")
	return field == nil || m.Get(field).Enum() == 0
}

// isPosition reports whether a field is the position of a record, and not the start or the end of a read.
func isPosition(field protoreflect.FieldDescriptor) bool {
	switch name := field.Name(); field.Parent().Name() {
	case "ReadAllEventsCompleted", "FilteredReadAllEventsCompleted", "CheckpointReached":
		return false
	default:
		return name == "prepare_position" || name == "commit_position"
	}
}

// withPositions sets the positions that a success left out: they are 0.
func withPositions(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if field := fields.Get(i); isPosition(field) && isOptional(field) && succeeded(m) && !m.Has(field) {
			m.Set(field, protoreflect.ValueOfInt64(0))
		}
	}
}

// gather collects the positions of records, and the ids of transactions that began.
func (r *reader) gather(m protoreflect.Message) {
	withPositions(m)
	if start, ok := m.Interface().(*esproto.TransactionStartCompleted); ok && succeeded(m) {
		if id := start.GetTransactionId(); r.tx[id] == "" {
			r.tx[id] = fmt.Sprintf("tx%d", len(r.tx)+1)
		}
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				r.gather(v.List().Get(i).Message())
			}
		case field.Message() != nil:
			r.gather(v.Message())
		case isPosition(field) && succeeded(m) && v.Int() >= 0:
			r.positions = append(r.positions, v.Int())
		}
		return true
	})
}

// text returns a message as text.
func (r *reader) text(s *spoken, ignore []string) string {
	var v any
	switch {
	case s.msg != nil:
		fields := r.message(own(s.msg, r.sc.Suffix))
		for _, path := range ignore {
			if name, ok := strings.CutPrefix(path, s.cmd+"."); ok {
				delete(fields, name)
			}
		}
		v = fields
	case s.cmd == "HTTP":
		var said struct {
			Status      int      `json:"status"`
			ContentType string   `json:"content_type"`
			Shape       []string `json:"shape"`
		}
		_ = json.Unmarshal(s.body, &said)
		return fmt.Sprint(said)
	case s.cmd == "BadRequest" || s.cmd == "NotAuthenticated":
		v = map[string]bool{"text": len(s.body) > 0}
	default:
		v = hex.EncodeToString(s.body)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

func (r *reader) message(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		out["unknown"] = hex.EncodeToString(unknown)
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name := string(field.Name())
		if !m.Has(field) || name == "total_time_ms" || name == "total_space_saved" {
			continue
		}
		v := m.Get(field)
		switch {
		case field.IsList():
			var list []any
			for k := range v.List().Len() {
				list = append(list, r.message(v.List().Get(k).Message()))
			}
			out[name] = list
		case field.Message() != nil:
			out[name] = r.message(v.Message())
		default:
			if !isOptional(field) || !v.Equal(field.Default()) || isPosition(field) && succeeded(m) {
				out[name] = r.scalar(field, v, m)
			}
		}
	}
	return out
}

func (r *reader) scalar(field protoreflect.FieldDescriptor, v protoreflect.Value, in protoreflect.Message) any {
	before := func(n int64) int {
		return sort.Search(len(r.positions), func(i int) bool { return r.positions[i] >= n })
	}
	switch name := string(field.Name()); {
	case isPosition(field) && succeeded(in) && v.Int() >= 0:
		return fmt.Sprintf("record %d", before(v.Int()))
	case (name == "last_commit_position" || name == "commit_position" &&
		in.Descriptor().Name() == "CheckpointReached") && v.Int() >= 0:
		return fmt.Sprintf("after %d records", before(v.Int()+1))
	case (name == "commit_position" || name == "next_commit_position") && v.Int() > 0 && !isPosition(field):
		return fmt.Sprintf("before %d", before(v.Int()))
	case (name == "prepare_position" || name == "next_prepare_position") && v.Int() >= 0 && !isPosition(field):
		return "a position"
	case name == "message", name == "error", name == "additional_info", name == "scavengeId",
		name == "reason" && field.Kind() == protoreflect.StringKind:
		return "text"
	case name == "created", name == "created_epoch":
		return "time"
	case name == "transaction_id" && r.tx[v.Int()] != "":
		return r.tx[v.Int()]
	case name == "event_id":
		return r.id(hex.EncodeToString(v.Bytes()))
	case name == "data" || name == "metadata":
		id := in.Descriptor().Fields().ByName("event_id")
		return r.data(v.Bytes(), hex.EncodeToString(in.Get(id).Bytes()))
	case field.Kind() == protoreflect.EnumKind:
		return v.Enum()
	}
	return v.Interface()
}

func (r *reader) id(id string) string {
	if label, ok := r.sc.IDs[id]; ok {
		return label
	}
	if r.ids[id] == "" {
		r.ids[id] = fmt.Sprintf("server-id-%d", len(r.ids)+1)
	}
	return r.ids[id]
}

// data is that of an event. Events of the server itself are JSON, and its form does not matter.
func (r *reader) data(b []byte, id string) string {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // event numbers do not fit a float64
	if _, client := r.sc.IDs[id]; client || d.Decode(&object) != nil {
		return string(b)
	}
	for _, key := range []string{"added", "reason", "updated"} {
		if object[key] != nil {
			object[key] = "present"
		}
	}
	canonical, _ := json.Marshal(object)
	return string(canonical)
}
