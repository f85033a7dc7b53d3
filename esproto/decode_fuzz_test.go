package esproto_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func FuzzDecodeWriteEvents(f *testing.F) {
	addRecorded(f, esproto.CmdWriteEvents, esproto.CmdTransactionWrite)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range asMessages(data) {
			agreeWriteEvents(t, b)
			agreeNewEvent(t, b)
		}
	})
}

func FuzzDecodeWriteEventsCompleted(f *testing.F) {
	addRecorded(f, esproto.CmdWriteEventsCompleted)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range asMessages(data) {
			agreeWriteEventsCompleted(t, b)
		}
	})
}

func FuzzDecodePage(f *testing.F) {
	addRecorded(f,
		esproto.CmdReadStreamEventsForwardCompleted, esproto.CmdReadStreamEventsBackwardCompleted,
		esproto.CmdReadAllEventsForwardCompleted, esproto.CmdReadAllEventsBackwardCompleted)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range asMessages(data) {
			agreeStreamPage(t, b)
			agreeAllPage(t, b)
			agreeFilteredPage(t, b)
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	addRecorded(f, esproto.CmdReadEventCompleted,
		esproto.CmdStreamEventAppeared, esproto.CmdPersistentSubscriptionStreamEventAppeared)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range asMessages(data) {
			agreeReadEvent(t, b)
			agreeStreamEventAppeared(t, b)
			agreePersistentEvent(t, b)
			agreeEvent(t, b)
			agreeRecord(t, b)
		}
	})
}

func FuzzDecodeAck(f *testing.F) {
	addRecorded(f, esproto.CmdPersistentSubscriptionAckEvents, esproto.CmdPersistentSubscriptionNakEvents)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range asMessages(data) {
			agreeAck(t, b)
		}
	})
}

// addRecorded adds the distinct shapes among the recorded payloads of the commands, and what is hard to come by: odd
// tags, groups, numbers that are too long.
func addRecorded(f *testing.F, commands ...esproto.Command) {
	f.Helper()
	seen := make(map[int]bool)
	for _, frame := range recorded(f) {
		cmd, known := commandByName(frame.Cmd)
		b, whole := frame.payload(f)
		if known && whole && frame.sentOrReceived() && slices.Contains(commands, cmd) && !seen[len(b)] {
			seen[len(b)] = true
			f.Add(b)
		}
	}
	for _, b := range oddMessages {
		f.Add(b)
	}
}

var oddMessages = [][]byte{
	{},
	{0x00},                         // field number 0
	{0x0A},                         // a length is missing
	{0x0A, 0x05, 1, 2},             // bytes are missing
	{0x8A, 0x00, 0x01, 'x'},        // field 1 by a tag of two bytes
	{0x8A, 0x80, 0x80, 0x00, 0x00}, // by one of four
	{0x0A, 0x80, 0x00},             // a length of two bytes that is 0
	{0x08, 0x01},                   // field 1 as a varint
	{0x0C},                         // the end of a group that did not begin
	{0x0B, 0x08, 0x01, 0x0C},       // field 1 as a group
	{0x0B, 0x08, 0x01, 0x14},       // that ends as another
	{0x0B, 0x08, 0x01},             // that does not end
	{0x0E, 0x00},                   // wire type 6
	{0x09, 1, 2, 3, 4, 5, 6, 7, 8}, // field 1 as 64 bits
	{0x0D, 1, 2, 3},                // as 32 bits, cut off
	{0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},       // -1
	{0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02},       // 65 bits
	{0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, // eleven bytes
	{0x28, 0x80, 0x80, 0x80, 0x80, 0x10},                                     // 1<<32 for an int32
	{0xF8, 0xFF, 0xFF, 0xFF, 0x0F, 0x01},                                     // the largest field number
	{0x80, 0x80, 0x80, 0x80, 0x10, 0x01},                                     // one more
	{0xF8, 0xFF, 0xFF, 0xFF, 0x7F, 0x01},                                     // 32 bits of field number
	{0x0B, 0x80, 0x80, 0x80, 0x80, 0x10, 0x01, 0x0C},                         // one more, within a group
	{0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},       // a length of 64 bits
	{0x0A, 0x04, 0x0A, 0x02, 0x10, 0x01, 0x0A, 0x04, 0x0A, 0x02, 0x28, 0x02}, // a message in two pieces
}

// asMessages makes two messages of fuzzed bytes: the bytes themselves, and the message that they compose as a program.
// The second is well-formed far more often, so that nesting and merging are reached.
func asMessages(data []byte) [][]byte {
	p := program{in: data}
	return [][]byte{data, p.message(0)}
}

// program composes a message from instructions of a byte: field number and what to write, operands after it.
type program struct{ in []byte }

func (p *program) byte() byte {
	if len(p.in) == 0 {
		return 0
	}
	c := p.in[0]
	p.in = p.in[1:]
	return c
}

func (p *program) bytes(n int) []byte {
	n = min(n, len(p.in))
	b := p.in[:n]
	p.in = p.in[n:]
	return b
}

func (p *program) uint64() uint64 {
	var b [8]byte
	copy(b[:], p.bytes(8))
	return binary.LittleEndian.Uint64(b[:])
}

func (p *program) message(depth int) []byte {
	var b []byte
	for len(p.in) > 0 {
		op := p.byte()
		num := protowire.Number(op & 0x0F)
		if num == 0 {
			num = protowire.Number(16 + p.uint64()%(math.MaxInt32-16)) // some are larger than is valid
		}
		switch op >> 4 {
		case 0, 1, 2:
			b = protowire.AppendTag(b, num, protowire.VarintType)
			b = protowire.AppendVarint(b, uint64(p.byte()))
		case 3:
			b = protowire.AppendTag(b, num, protowire.VarintType)
			b = protowire.AppendVarint(b, p.uint64())
		case 4, 5, 6:
			b = protowire.AppendTag(b, num, protowire.BytesType)
			b = protowire.AppendBytes(b, p.bytes(int(p.byte())))
		case 7, 8, 9, 10:
			if depth < 4 {
				inner := p.message(depth + 1)
				b = protowire.AppendTag(b, num, protowire.BytesType)
				b = protowire.AppendBytes(b, inner)
			}
		case 11:
			b = protowire.AppendTag(b, num, protowire.Fixed32Type)
			b = protowire.AppendFixed32(b, uint32(p.uint64()))
		case 12:
			b = protowire.AppendTag(b, num, protowire.Fixed64Type)
			b = protowire.AppendFixed64(b, p.uint64())
		case 13:
			if depth < 4 {
				inner := p.message(depth + 1)
				b = protowire.AppendTag(b, num, protowire.StartGroupType)
				b = protowire.AppendGroup(b, num, inner)
			}
		case 14: // a tag of one byte in two, and an id
			b = append(b, (op&0x0F)<<3|byte(protowire.BytesType)|0x80, 0, 16)
			b = append(b, make([]byte, 16)...)
		case 15:
			if depth > 0 && op&1 == 0 {
				return b
			}
			b = append(b, p.bytes(int(p.byte()&0x0F))...)
		}
	}
	return b
}
