package chaos

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// missing returns the numbers of events whose message was not settled in this epoch. A message that is there twice with
// one id may come once: a server takes both for one while it waits for an ack.
func (g *group) missing(log []logged) (numbers []int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	settled := make(map[string]bool)
	for _, e := range log {
		if g.acked[e.number] || g.decided[e.number] || g.unclear[e.number] {
			settled[e.payload] = true
		}
	}
	for _, e := range log {
		if !settled[e.payload] {
			numbers = append(numbers, e.number)
		}
	}
	return numbers
}

// judge compares the messages of the group with the log and the parked stream.
func (g *group) judge(log []logged, srv *estest.Server) {
	g.judgeInFlight(srv)
	g.judgeIdle()
	if numbers := g.missing(log); len(numbers) > 0 {
		g.w.report.breach(missed, "%s: %d of %d, from %d on; at the server: %+v",
			g.name, len(numbers), len(log), numbers[0], g.stats(srv))
		g.w.report.count(missed, len(numbers)-1)
	}
	g.noteParked()
	parked := make(map[int64]int)
	for _, number := range g.entries {
		parked[number]++
	}
	for number, n := range parked {
		switch most := len(g.parked[number]); {
		case n > most+g.untold(number):
			g.w.report.breach(parkedUnasked, "%s: number %d is parked %d times, asked for %d times",
				g.name, number, n, most)
		case n > most:
			g.w.report.count("parked twice, since nothing could tell a plain user of the first time", 1)
		}
	}
	g.w.report.count("messages parked", len(g.entries))
	g.mu.Lock()
	defer g.mu.Unlock()
	for number := range g.decided {
		switch {
		case parked[number] > 0 || g.acked[number]:
		case g.w.cluster != nil && g.askedBefore(number, g.w.lastReset):
			g.w.report.count("parks that were lost with a leader", 1)
		default:
			g.w.report.breach(unparked, "%s: number %d, asked for at %v; the last reset was at %v",
				g.name, number, g.timesAsked(number), g.w.report.since(g.w.lastReset))
		}
	}
}

func (g *group) judgeIdle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.handed) == 0 {
		g.w.report.breach(idle, "%s handed out nothing", g.name)
	}
}

// timesAsked returns when the handler asked to park a message.
func (g *group) timesAsked(number int64) (times []time.Duration) {
	for _, a := range g.parked[number] {
		times = append(times, g.w.report.since(a.at))
	}
	return times
}

// askedBefore reports whether a message was parked by the handler before a time only.
func (g *group) askedBefore(number int64, before time.Time) bool {
	return !slices.ContainsFunc(g.parked[number], func(a asked) bool { return a.at.After(before) })
}

// judgeInFlight waits until the server has read all acks and nacks.
func (g *group) judgeInFlight(srv *estest.Server) {
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		if g.stats(srv).InFlight == 0 {
			return
		}
	}
	g.w.report.breach(unheard, "%s: %+v", g.name, g.stats(srv))
}

// proofTime is how long a server may take, under faults, to show that it has read a park.
const proofTime = time.Second

// untold returns how many parks of a message a plain user may have to repeat: the connection was lost before the server
// could show that it had read them, and then a server forgot that the message was settled.
func (g *group) untold(number int64) (n int) {
	if !g.plain {
		return 0
	}
	for _, a := range g.parked[number] {
		if a.link.lostWithin(a.at, proofTime) && g.w.lastReset.After(a.at) {
			n++
		}
	}
	return n
}

// noteParked records the entries of the parked stream. A replay hides them.
func (g *group) noteParked() {
	for _, e := range g.read("$persistentsubscription-" + g.stream + "::" + g.name + "-parked") {
		var number int64
		if _, err := fmt.Sscanf(string(e.Data), "%d@", &number); err == nil {
			g.entries[e.Number] = number
		}
	}
}

// judgeClients waits until the server counts as many subscribers of the group as there are.
func (g *group) judgeClients(srv *estest.Server) {
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		if g.stats(srv).Clients == len(g.subs) {
			return
		}
	}
	g.w.report.breach(leftover, "%s has %d, there are %d", g.name, g.stats(srv).Clients, len(g.subs))
}

// stats returns the server's counters of the group.
func (g *group) stats(srv *estest.Server) estest.GroupStats {
	for _, s := range srv.Stats().Groups {
		if s.Stream == g.stream && s.Group == g.name {
			return s
		}
	}
	return estest.GroupStats{}
}
