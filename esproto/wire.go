package esproto

import (
	"fmt"
	"math"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// Style is a server's way to write fields whose value is zero.
type Style bool

// The two styles of servers. Clients always write in style Explicit.
const (
	Explicit  Style = false // up to 21.10: servers write all required fields
	OmitZeros Style = true  // from 22.10: servers leave out zero, false and empty
)

// Wire types, as the low bits of a tag.
const (
	wireVarint = uint64(protowire.VarintType)
	wireBytes  = uint64(protowire.BytesType)
)

// malformedAt is a position behind every message.
const malformedAt = math.MaxInt

// nextField reads the field at b[i], i < len(b): its tag (number and wire type), its value, in n for a varint and in v
// for bytes, and where the next field begins. Decoders are loops of this shape:
//
//	i := 0
//	for i < len(b) {
//		tag, n, v, next := nextField(b, i)
//		i = next
//		switch tag {
//		case 1<<3 | wireBytes:
//			m.Name = text(v)
//		case 2<<3 | wireVarint:
//			m.Count = int32(n)
//		}
//	}
//	return end(b, i)
//
// A malformed field has the tag 0 and ends the loop at malformedAt, so the check costs one comparison a message. A
// known field with an unexpected wire type falls through the switch like an unknown one, as in protobuf.
func nextField(b []byte, i int) (tag, n uint64, v []byte, next int) {
	size := 1
	if tag = uint64(b[i]); tag >= 0x80 {
		if tag, size = protowire.ConsumeVarint(b[i:]); size < 0 {
			return 0, 0, nil, malformedAt
		}
	}
	if tag>>3-1 >= uint64(protowire.MaxValidNumber) { // 0 wraps around
		return 0, 0, nil, malformedAt
	}
	i += size
	switch tag & 7 {
	case wireVarint:
		if i < len(b) && b[i] < 0x80 {
			return tag, uint64(b[i]), nil, i + 1
		}
		if n, size = protowire.ConsumeVarint(b[i:]); size > 0 {
			return tag, n, nil, i + size
		}
	case wireBytes:
		if i < len(b) && b[i] < 0x80 {
			n, size = uint64(b[i]), 1
		} else {
			n, size = protowire.ConsumeVarint(b[i:])
		}
		if i += size; size > 0 && n <= uint64(len(b)-i) {
			next = i + int(n)
			return tag, 0, b[i:next:next], next // an append must not write into the next field
		}
	default:
		size = protowire.ConsumeFieldValue(protowire.Number(tag>>3), protowire.Type(tag&7), b[i:])
		if size >= 0 {
			return tag, 0, nil, i + size
		}
	}
	return 0, 0, nil, malformedAt
}

// end returns the error of a decoder whose loop ended at position i.
func end(b []byte, i int) error {
	if i == len(b) {
		return nil
	}
	return malformed(b)
}

// malformed finds the fault in b again, so that decoders need not keep it.
func malformed(b []byte) error {
	for i := 0; i < len(b); {
		num, typ, n := protowire.ConsumeTag(b[i:])
		if n < 0 {
			return fmt.Errorf("%w: the tag at byte %d: %w", ErrMalformed, i, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, typ, b[i+n:])
		if size < 0 {
			return fmt.Errorf("%w: field %d at byte %d: %w", ErrMalformed, num, i, protowire.ParseError(size))
		}
		if num > protowire.MaxValidNumber {
			return fmt.Errorf("%w: the tag at byte %d: no field has the number %d", ErrMalformed, i, num)
		}
		i += n + size
	}
	return ErrMalformed
}

// text returns b as a string without a copy: frames do not change after they were read.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Sizes and appenders for fields with a number below 16, whose tag is one byte.

func sizeBytes(n int) int { return 1 + protowire.SizeVarint(uint64(n)) + n }

func sizeInt(v int64) int { return 1 + protowire.SizeVarint(uint64(v)) }

func appendTag(b []byte, num protowire.Number, typ protowire.Type) []byte {
	return append(b, byte(num)<<3|byte(typ))
}

// appendSmall appends a tag and a value. Most values take one byte, and then no loop is needed.
func appendSmall(b []byte, num protowire.Number, typ protowire.Type, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(num)<<3|byte(typ), byte(v))
	}
	return protowire.AppendVarint(appendTag(b, num, typ), v)
}

func appendInt(b []byte, num protowire.Number, v int64) []byte {
	return appendSmall(b, num, protowire.VarintType, uint64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	return append(appendTag(b, num, protowire.VarintType), byte(protowire.EncodeBool(v)))
}

func appendBytes[T []byte | string](b []byte, num protowire.Number, v T) []byte {
	return append(appendLength(b, num, len(v)), v...)
}

func appendLength(b []byte, num protowire.Number, n int) []byte {
	return appendSmall(b, num, protowire.BytesType, uint64(n))
}
