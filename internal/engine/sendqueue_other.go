//go:build !linux

package engine

import "net"

// sendQueue asks the kernel how many of the written bytes it still holds. It is only implemented for Linux.
type sendQueue struct{}

func newSendQueue(net.Conn) *sendQueue { return nil }

func (*sendQueue) held() (n int64, ok bool) { return 0, false }
