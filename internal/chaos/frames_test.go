package chaos

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// frames parses the bytes that one end of a connection sends.
type frames struct {
	see  func(esproto.Command) // called for each complete frame
	head []byte                // length and command of the current frame
	left int                   // remaining bytes of it
}

const headLength = 5

// pass takes bytes that were sent.
func (f *frames) pass(b []byte) {
	for len(b) > 0 {
		if n := headLength - len(f.head); n > 0 {
			n = min(n, len(b))
			f.head, b = append(f.head, b[:n]...), b[n:]
			if len(f.head) == headLength {
				f.left = int(binary.LittleEndian.Uint32(f.head)) - 1
			}
			continue
		}
		n := min(f.left, len(b))
		f.left, b = f.left-n, b[n:]
		if f.left == 0 {
			f.see(esproto.Command(f.head[headLength-1]))
			f.head = f.head[:0]
		}
	}
}

// joining reports whether a client has asked for a group, or joined one, that has not pushed anything since.
type joining struct{ atomic.Bool }

func (j *joining) see(cmd esproto.Command) {
	switch cmd {
	case esproto.CmdConnectToPersistentSubscription, esproto.CmdPersistentSubscriptionConfirmation:
		j.Store(true)
	case esproto.CmdPersistentSubscriptionStreamEventAppeared, esproto.CmdSubscriptionDropped:
		j.Store(false)
	}
}
