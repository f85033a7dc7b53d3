package esproto_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// frame is one frame of a recorded conversation with a real server.
type frame struct {
	where string // server, scenario and frame, for failures

	Dir    string         `json:"dir"`
	Cmd    string         `json:"cmd"`
	Raw    string         `json:"raw"`
	RawLen int            `json:"raw_len"` // set where raw is cut off
	Fields map[string]any `json:"fields"`
	style  esproto.Style  // of the frames of the server
}

// payload returns the bytes after the header; ok is false if the recording has only their beginning.
func (f *frame) payload(tb testing.TB) (b []byte, ok bool) {
	tb.Helper()
	if f.RawLen != 0 {
		return nil, false
	}
	b, err := hex.DecodeString(f.Raw)
	require.NoError(tb, err, f.where)
	return b, true
}

// nameFields calls a field by its name that the recordings know only by its number.
func (f *frame) nameFields() {
	if v, ok := f.Fields["unknown_5"]; ok && f.Cmd == "DeleteStreamCompleted" {
		delete(f.Fields, "unknown_5")
		f.Fields["current_version"] = v
	}
}

// sentOrReceived are the directions of frames; the others are events of the connection.
func (f *frame) sentOrReceived() bool { return f.Dir == "send" || f.Dir == "recv" }

var recordings = sync.OnceValues(func() ([]frame, error) {
	var frames []frame
	for _, version := range []string{"4.1.4", "5.0.11", "23.10", "23.10-anonymous"} {
		file, err := os.Open("../testdata/wire/public-" + version + ".json")
		if err != nil {
			return nil, err
		}
		defer file.Close()
		var transcript struct {
			Scenarios []struct {
				Name  string
				Steps []struct{ Frames []frame }
			}
		}
		d := json.NewDecoder(file)
		d.UseNumber() // event numbers do not fit a float64
		if err := d.Decode(&transcript); err != nil {
			return nil, err
		}
		for _, scenario := range transcript.Scenarios {
			for step, s := range scenario.Steps {
				for i, f := range s.Frames {
					where := fmt.Sprintf("%s %s step %d frame %d", version, scenario.Name, step, i)
					f.where = where + ": " + f.Dir + " " + f.Cmd
					if strings.HasPrefix(version, "23.") && f.Dir == "recv" {
						f.style = esproto.OmitZeros
					}
					f.nameFields()
					frames = append(frames, f)
				}
			}
		}
	}
	return frames, nil
})

func recorded(tb testing.TB) []frame {
	tb.Helper()
	frames, err := recordings()
	require.NoError(tb, err)
	require.Greater(tb, len(frames), 9000)
	return frames
}

// messages are the payloads of commands; the payload of a command that is not here is empty, text or anything.
var messages = map[esproto.Command]proto.Message{
	esproto.CmdWriteEvents:                               &esproto.WriteEvents{},
	esproto.CmdWriteEventsCompleted:                      &esproto.WriteEventsCompleted{},
	esproto.CmdTransactionStart:                          &esproto.TransactionStart{},
	esproto.CmdTransactionStartCompleted:                 &esproto.TransactionStartCompleted{},
	esproto.CmdTransactionWrite:                          &esproto.TransactionWrite{},
	esproto.CmdTransactionWriteCompleted:                 &esproto.TransactionWriteCompleted{},
	esproto.CmdTransactionCommit:                         &esproto.TransactionCommit{},
	esproto.CmdTransactionCommitCompleted:                &esproto.TransactionCommitCompleted{},
	esproto.CmdDeleteStream:                              &esproto.DeleteStream{},
	esproto.CmdDeleteStreamCompleted:                     &esproto.DeleteStreamCompleted{},
	esproto.CmdReadEvent:                                 &esproto.ReadEvent{},
	esproto.CmdReadEventCompleted:                        &esproto.ReadEventCompleted{},
	esproto.CmdReadStreamEventsForward:                   &esproto.ReadStreamEvents{},
	esproto.CmdReadStreamEventsForwardCompleted:          &esproto.ReadStreamEventsCompleted{},
	esproto.CmdReadStreamEventsBackward:                  &esproto.ReadStreamEvents{},
	esproto.CmdReadStreamEventsBackwardCompleted:         &esproto.ReadStreamEventsCompleted{},
	esproto.CmdReadAllEventsForward:                      &esproto.ReadAllEvents{},
	esproto.CmdReadAllEventsForwardCompleted:             &esproto.ReadAllEventsCompleted{},
	esproto.CmdReadAllEventsBackward:                     &esproto.ReadAllEvents{},
	esproto.CmdReadAllEventsBackwardCompleted:            &esproto.ReadAllEventsCompleted{},
	esproto.CmdSubscribeToStream:                         &esproto.SubscribeToStream{},
	esproto.CmdSubscriptionConfirmation:                  &esproto.SubscriptionConfirmation{},
	esproto.CmdStreamEventAppeared:                       &esproto.StreamEventAppeared{},
	esproto.CmdUnsubscribeFromStream:                     &esproto.UnsubscribeFromStream{},
	esproto.CmdSubscriptionDropped:                       &esproto.SubscriptionDropped{},
	esproto.CmdConnectToPersistentSubscription:           &esproto.ConnectToPersistentSubscription{},
	esproto.CmdPersistentSubscriptionConfirmation:        &esproto.PersistentSubscriptionConfirmation{},
	esproto.CmdPersistentSubscriptionStreamEventAppeared: &esproto.PersistentSubscriptionStreamEventAppeared{},
	esproto.CmdCreatePersistentSubscription:              &esproto.CreatePersistentSubscription{},
	esproto.CmdCreatePersistentSubscriptionCompleted:     &esproto.CreatePersistentSubscriptionCompleted{},
	esproto.CmdDeletePersistentSubscription:              &esproto.DeletePersistentSubscription{},
	esproto.CmdDeletePersistentSubscriptionCompleted:     &esproto.DeletePersistentSubscriptionCompleted{},
	esproto.CmdPersistentSubscriptionAckEvents:           &esproto.PersistentSubscriptionAckEvents{},
	esproto.CmdPersistentSubscriptionNakEvents:           &esproto.PersistentSubscriptionNakEvents{},
	esproto.CmdUpdatePersistentSubscription:              &esproto.UpdatePersistentSubscription{},
	esproto.CmdUpdatePersistentSubscriptionCompleted:     &esproto.UpdatePersistentSubscriptionCompleted{},
	esproto.CmdScavengeDatabase:                          &esproto.ScavengeDatabase{},
	esproto.CmdScavengeDatabaseResponse:                  &esproto.ScavengeDatabaseResponse{},
	esproto.CmdNotHandled:                                &esproto.NotHandled{},
	esproto.CmdIdentifyClient:                            &esproto.IdentifyClient{},
	esproto.CmdClientIdentified:                          &esproto.ClientIdentified{},
}

// decoders are the hand-written decoders, each held against the generated code.
var decoders = map[esproto.Command]func(*testing.T, []byte){
	esproto.CmdWriteEvents:                               agreeWriteEvents,
	esproto.CmdWriteEventsCompleted:                      agreeWriteEventsCompleted,
	esproto.CmdReadEventCompleted:                        agreeReadEvent,
	esproto.CmdReadStreamEventsForwardCompleted:          agreeStreamPage,
	esproto.CmdReadStreamEventsBackwardCompleted:         agreeStreamPage,
	esproto.CmdReadAllEventsForwardCompleted:             agreeAllPage,
	esproto.CmdReadAllEventsBackwardCompleted:            agreeAllPage,
	esproto.CmdStreamEventAppeared:                       agreeStreamEventAppeared,
	esproto.CmdPersistentSubscriptionStreamEventAppeared: agreePersistentEvent,
	esproto.CmdPersistentSubscriptionAckEvents:           agreeAck,
}

func commandByName(name string) (esproto.Command, bool) {
	for c := range 256 {
		if cmd := esproto.Command(c); cmd.Known() && cmd.String() == name {
			return cmd, true
		}
	}
	return 0, false
}

// TestRecordedMessages reads every payload that real servers and their clients exchanged with the generated types, the
// hand-written decoders, and writes it again.
func TestRecordedMessages(t *testing.T) {
	t.Parallel()
	var read, undecodable, byHand int
	for _, f := range recorded(t) {
		cmd, known := commandByName(f.Cmd)
		b, whole := f.payload(t)
		if !f.sentOrReceived() || !known || !whole || messages[cmd] == nil {
			continue
		}
		decode, hasView := decoders[cmd]
		if hasView {
			decode(t, b)
			byHand++
		}
		m := proto.Clone(messages[cmd])
		err := proto.Unmarshal(b, m)
		if f.Fields["undecodable"] != nil {
			require.Error(t, err, f.where)
			undecodable++
			continue
		}
		require.NoError(t, err, f.where)
		require.Equal(t, nonNil(f.Fields), fieldsOf(t, m.ProtoReflect()), f.where)
		require.Empty(t, m.ProtoReflect().GetUnknown(), f.where)
		again, err := proto.Marshal(m)
		require.NoError(t, err, f.where)
		require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(again), f.where)
		read++
	}
	// The recordings do not shrink unseen.
	assert.Greater(t, read, 8000)
	assert.Greater(t, byHand, 4000)
	assert.Equal(t, 4*5, undecodable)
}

// TestRecordedCommands holds that each command is known by its name in the recordings, and each with a hex code is not.
func TestRecordedCommands(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range recorded(t) {
		if !f.sentOrReceived() || f.Cmd == "RAW" || f.Cmd == "HTTP" || seen[f.Cmd] {
			continue
		}
		seen[f.Cmd] = true
		_, known := commandByName(f.Cmd)
		assert.Equal(t, !strings.HasPrefix(f.Cmd, "0x"), known, f.where)
	}
	assert.Greater(t, len(seen), 45)
}

func nonNil(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// fieldsOf writes a message as the recordings do: the fields that were on the wire, by their names in 4.x and 5.x.
func fieldsOf(t *testing.T, m protoreflect.Message) map[string]any {
	t.Helper()
	fields := make(map[string]any)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := strings.Replace(string(fd.Name()), "require_leader", "require_master", 1)
		if !fd.IsList() {
			fields[name] = valueOf(t, fd, v)
			return true
		}
		list := make([]any, v.List().Len())
		for i := range list {
			list[i] = valueOf(t, fd, v.List().Get(i))
		}
		fields[name] = list
		return true
	})
	return fields
}

func valueOf(t *testing.T, fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	t.Helper()
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return v.Bool()
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return json.Number(strconv.FormatInt(v.Int(), 10))
	case protoreflect.EnumKind:
		value := fd.Enum().Values().ByNumber(v.Enum())
		require.NotNil(t, value, "%s has no %d", fd.Enum().FullName(), v.Enum())
		return string(value.Name())
	case protoreflect.MessageKind:
		return fieldsOf(t, v.Message())
	case protoreflect.BytesKind:
		if name := fd.Name(); name == "event_id" || name == "processed_event_ids" {
			return hex.EncodeToString(v.Bytes())
		}
		return bytesValue(v.Bytes())
	default:
		require.FailNow(t, "a kind that no message has", "%v", fd.Kind())
		return nil
	}
}

// bytesValue writes long bytes by their length and hash, others as text where they are printable, else in hex.
func bytesValue(b []byte) string {
	if len(b) > 600 {
		h := fnv.New64a()
		h.Write(b)
		return fmt.Sprintf("(%d bytes, fnv %016x)", len(b), h.Sum64())
	}
	text := string(b)
	odd := func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune("\n\t\r", r) }
	if !utf8.ValidString(text) || strings.HasPrefix(text, "0x") || strings.ContainsFunc(text, odd) {
		return "0x" + hex.EncodeToString(b)
	}
	return text
}
