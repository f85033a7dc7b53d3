package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

// checkUntilDead returns when the connection is dead, or ctx has ended. Meanwhile it has the node checked: one that lost its
// cluster goes on to answer, and would keep its clients for good.
func (m *Manager) checkUntilDead(ctx context.Context, c *Conn) {
	var due <-chan time.Time
	if m.cfg.Check != nil && m.cfg.CheckInterval > 0 {
		t := time.NewTicker(checkInterval(m.cfg.CheckInterval))
		defer t.Stop()
		due = t.C
	}
	for {
		select {
		case <-c.dead:
			return
		case <-ctx.Done():
			return
		case <-due:
			m.checkNode(ctx, c)
		}
	}
}

// checkInterval varies by a quarter, so that the clients of a node do not ask all at once.
func checkInterval(mean time.Duration) time.Duration {
	return mean - mean/4 + rand.N(mean/2+1)
}

func (m *Manager) checkNode(ctx context.Context, c *Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		err = m.cfg.Check(ctx, c.endpoint)
	}()
	select {
	case <-checked:
		if err != nil {
			m.replace(c, "", err)
		}
	case <-c.dead:
		cancel()
		<-checked
	}
}
