package esclient

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

type noted struct {
	hold chan struct{}
	told chan string
}

func (n *noted) OnConnected(ConnectionInfo)    { n.told <- "connected" }
func (n *noted) OnDisconnected(ConnectionInfo) { n.told <- "disconnected"; <-n.hold }
func (n *noted) OnReconnecting(ConnectionInfo) { n.told <- "reconnecting" }
func (n *noted) OnClosed(ConnectionInfo)       { n.told <- "closed" }

// The queue has a limit if a hook does not return, and the remaining calls are consistent.
func TestNoticesForAHookThatDoesNotReturnAreBounded(t *testing.T) {
	n := &noted{hold: make(chan struct{}), told: make(chan string, 10*maxNotices)}
	hooks, _ := sortHooks([]Hook{n})
	var w goroutines
	q := newHookQueue(&w, &hooks)
	q.tell(noticeConnected, ConnectionInfo{})
	q.tell(noticeDisconnected, ConnectionInfo{})
	assert.Equal(t, "connected", <-n.told)
	assert.Equal(t, "disconnected", <-n.told)
	for range maxNotices {
		q.tell(noticeReconnecting, ConnectionInfo{})
		q.tell(noticeConnected, ConnectionInfo{})
		q.tell(noticeDisconnected, ConnectionInfo{})
	}
	q.tell(noticeClosed, ConnectionInfo{})
	q.mu.Lock()
	assert.LessOrEqual(t, len(q.waiting), maxNotices)
	q.mu.Unlock()
	close(n.hold)
	q.flush(10 * time.Second)
	w.wait(time.Minute)
	close(n.told)
	connected, last := false, ""
	for what := range n.told {
		switch what {
		case "connected", "disconnected":
			assert.Equal(t, what == "disconnected", connected, "they take turns")
			connected = what == "connected"
		}
		last = what
	}
	assert.Equal(t, "closed", last)
}
