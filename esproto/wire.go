package esproto

import (
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// Style is how a server writes fields whose value is zero.
type Style bool

// The two styles of servers. Clients write in style Explicit, whatever they talk to.
const (
	Explicit  Style = false // up to 21.10: required fields are always written
	OmitZeros Style = true  // from 22.10: zero, false and empty are left out
)

// decoder walks over the fields of one message. It keeps the first error and then yields no more fields.
type decoder struct {
	b   []byte
	num protowire.Number
	typ protowire.Type
	err error
}

// next moves to the next field; its value must then be read, or passed over with skip.
func (d *decoder) next() bool {
	if len(d.b) == 0 || d.err != nil {
		return false
	}
	if c := d.b[0]; c < 0x80 && c >= 8 {
		d.num, d.typ, d.b = protowire.Number(c>>3), protowire.Type(c&7), d.b[1:]
		return true
	}
	num, typ, n := protowire.ConsumeTag(d.b)
	if n < 0 {
		return d.fail(n)
	}
	d.num, d.typ, d.b = num, typ, d.b[n:]
	return true
}

func (d *decoder) fail(code int) bool {
	d.err = fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(code))
	return false
}

// is reports whether the current field is num with type typ. A known number with another type is an unknown field.
func (d *decoder) is(num protowire.Number, typ protowire.Type) bool {
	return d.num == num && d.typ == typ
}

func (d *decoder) skip() {
	n := protowire.ConsumeFieldValue(d.num, d.typ, d.b)
	if n < 0 {
		d.fail(n)
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) varint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := uint64(d.b[0])
		d.b = d.b[1:]
		return v
	}
	return d.varintSlow()
}

func (d *decoder) varintSlow() uint64 {
	v, n := protowire.ConsumeVarint(d.b)
	if n < 0 {
		d.fail(n)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int64() int64 { return int64(d.varint()) }
func (d *decoder) int32() int32 { return int32(d.varint()) }
func (d *decoder) bool() bool   { return d.varint() != 0 }

// bytes returns the field's value as a part of the message that cannot grow into what follows it.
func (d *decoder) bytes() []byte {
	n := d.varint()
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.b)) {
		d.err = fmt.Errorf("%w: a field of %d bytes where %d are left", ErrMalformed, n, len(d.b))
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// string returns the field's value without a copy: frames are never changed once they are read.
func (d *decoder) string() string {
	b := d.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Sizes and appenders for fields with a number below 16, whose tag is one byte.

func sizeBytes(n int) int { return 1 + protowire.SizeVarint(uint64(n)) + n }

func sizeInt(v int64) int { return 1 + protowire.SizeVarint(uint64(v)) }

func appendTag(b []byte, num protowire.Number, typ protowire.Type) []byte {
	return append(b, byte(num)<<3|byte(typ))
}

func appendInt(b []byte, num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(appendTag(b, num, protowire.VarintType), uint64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	return append(appendTag(b, num, protowire.VarintType), byte(protowire.EncodeBool(v)))
}

func appendBytes[T []byte | string](b []byte, num protowire.Number, v T) []byte {
	b = appendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendLength(b []byte, num protowire.Number, n int) []byte {
	return protowire.AppendVarint(appendTag(b, num, protowire.BytesType), uint64(n))
}
