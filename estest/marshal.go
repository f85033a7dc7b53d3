package estest

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// marshal appends a message without a hot codec of its own, in the style of the server. It removes the zeros from m
// that servers omit.
func (p *persona) marshal(b []byte, m proto.Message) []byte {
	if p.Style == esproto.OmitZeros {
		clearZeros(m.ProtoReflect())
	}
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, m) // fails only for messages with required fields
	return b
}

// clearZeros makes fields of a message absent that proto3 would not write: our messages have explicit presence.
func clearZeros(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsList() || field.IsMap():
		case field.Message() != nil:
			clearZeros(v.Message())
		case isZero(field, v):
			m.Clear(field)
		}
		return true
	})
}

func isZero(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	switch field.Kind() {
	case protoreflect.BytesKind:
		return len(v.Bytes()) == 0
	case protoreflect.StringKind:
		return v.String() == ""
	case protoreflect.BoolKind:
		return !v.Bool()
	case protoreflect.EnumKind:
		return v.Enum() == 0
	default: // int32 and int64 are the only numbers there are
		return v.Int() == 0
	}
}
