package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

// checkUntilDead returns when c is dead or ctx has ended. Until then it checks the node of c: a node that has lost its
// cluster still answers, and would keep its clients forever.
func (m *Manager) checkUntilDead(ctx context.Context, c *Conn) {
	var tick <-chan time.Time
	if m.cfg.Check != nil && m.cfg.CheckInterval > 0 {
		t := time.NewTicker(checkInterval(m.cfg.CheckInterval))
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-c.dead:
			return
		case <-ctx.Done():
			return
		case <-tick:
			m.checkNode(ctx, c)
		}
	}
}

// checkInterval varies the interval by up to a quarter, so that the clients of a node do not check at the same time.
func checkInterval(mean time.Duration) time.Duration {
	return mean - mean/4 + rand.N(mean/2+1)
}

// checkNode checks the node of c once, and replaces c if the check fails.
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
