//go:build !linux

package engine

import "net"

// sendQueue asks the kernel how many bytes it holds of those that were written. On this system it is not asked.
type sendQueue struct{}

func newSendQueue(net.Conn) *sendQueue { return nil }

func (*sendQueue) held() (n int64, ok bool) { return 0, false }
