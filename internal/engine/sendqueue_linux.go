package engine

import (
	"net"
	"syscall"
	"unsafe"
)

// sendQueue asks the kernel how many of the written bytes it still holds: bytes that it has not sent, or that the other
// end has not acknowledged.
type sendQueue struct {
	raw  syscall.RawConn
	ask  func(fd uintptr)
	size int32
	ok   bool
}

// newSendQueue returns nil if nc does not give access to its socket.
func newSendQueue(nc net.Conn) *sendQueue {
	for {
		switch c := nc.(type) {
		case syscall.Conn:
			raw, err := c.SyscallConn()
			if err != nil {
				return nil
			}
			q := &sendQueue{raw: raw}
			q.ask = func(fd uintptr) {
				_, _, errno := syscall.Syscall(
					syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&q.size)))
				q.ok = errno == 0
			}
			return q
		case interface{ NetConn() net.Conn }: // TLS
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// held returns how many bytes the kernel holds. ok is false if the kernel does not tell. Concurrent use is not safe.
func (q *sendQueue) held() (n int64, ok bool) {
	if q == nil {
		return 0, false
	}
	q.ok = false
	if err := q.raw.Control(q.ask); err != nil {
		return 0, false
	}
	return int64(q.size), q.ok
}
