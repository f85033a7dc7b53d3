package groups

import (
	"strconv"
	"strings"
)

const checkpointType = "SubscriptionCheckpoint"

func (g *Group) checkpointStream() string {
	return "$persistentsubscription-" + g.ID() + "-checkpoint"
}

// loadCheckpoint returns the number of the last checkpoint. ok is false if there is none that can be read.
func (g *Group) loadCheckpoint() (n int64, ok bool) {
	s := g.set.cfg.Log.Stream(g.checkpointStream())
	if s == nil || s.Last() < 0 || s.SoftDeleted() || s.HardDeleted() {
		return 0, false
	}
	r := s.Visible(s.Last(), g.set.cfg.Now())
	if r == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.Trim(string(r.Data()), `"`), 10, 64)
	return n, err == nil
}

// mark writes a checkpoint if one is due. byClock is true in the tick of each second, and false after an ack.
func (g *Group) mark(byClock bool) {
	most := g.progress - g.checkedUntil // an upper bound that costs little
	if most < g.Settings.CheckpointMax && (!byClock || most < g.Settings.CheckpointMin) {
		return
	}
	n, until := g.lastKnown, g.progress
	if m := g.lowestOpen(); m != nil {
		n, until = m.previous, m.sequence-1
	}
	if n < 0 {
		return
	}
	if !g.set.cfg.Majority() {
		return // readers must not see a checkpoint that the next leader may not have
	}
	now, progress := g.set.cfg.Now(), until-g.checkedUntil
	tooEarly := g.Settings.CheckpointAfter == 0 || now.Sub(g.checkedAt) < g.Settings.CheckpointAfter
	if progress < g.Settings.CheckpointMax && (tooEarly || !byClock || progress < g.Settings.CheckpointMin) {
		return
	}
	g.checkpoint, g.checkedUntil, g.checkedAt = n, until, now
	data := strconv.FormatInt(n, 10)
	if g.set.cfg.Facts.CheckpointIsText {
		data = `"` + data + `"`
	}
	g.set.cfg.Log.SystemWrite(g.checkpointStream(), checkpointType, true, []byte(data), nil)
}
