package estest

import (
	"sort"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// position is a place in the log.
type position struct{ commit, prepare int64 }

func (p position) before(q position) bool {
	return p.commit < q.commit || p.commit == q.commit && p.prepare < q.prepare
}

func (r *record) position() position { return position{r.commit, r.prepare} }

// afterwards is the position to read on from behind a record: in a transaction within its commit, else behind the
// record.
func (r *record) afterwards() position {
	if r.commit != r.prepare {
		return position{r.commit, r.prepare + r.size()}
	}
	return position{r.commit + r.size(), 0}
}

// backwards is the position to read backward from to what is before a record.
func (r *record) backwards() position {
	if r.commit != r.prepare {
		return position{r.commit + commitRecordSize, r.prepare}
	}
	return r.position()
}

// ending is the first position from which a record is read backward.
func (r *record) ending() position {
	if r.commit != r.prepare {
		return position{r.commit + commitRecordSize, r.prepare + r.size()}
	}
	return position{r.commit + r.size(), r.commit + r.size()}
}

// indexFrom returns the index in the log of the first record at or behind p.
func (l *eventLog) indexFrom(p position) int {
	return sort.Search(len(l.records), func(i int) bool { return !l.records[i].position().before(p) })
}

// indexBefore returns how many records of the log end at or before p.
func (l *eventLog) indexBefore(p position) int {
	return sort.Search(len(l.records), func(i int) bool { return p.before(l.records[i].ending()) })
}

// allPage is the result of a read of $all.
type allPage struct {
	result esproto.ReadAllEventsCompleted_ReadAllResult
	text   string
	from   position
	recs   []*record
	next   position
	end    bool
}

// allScan is what a read of $all looks for, and for how long.
type allScan struct {
	picks   func(r *record) bool // nil for everything
	forward bool
	count   int // how many events make a page
	window  int // how many events are looked at for them
}

// deniedLink is the page of a user who may read $all, but not a stream that a link in it leads to.
func deniedLink(from position) allPage {
	return allPage{result: esproto.ReadAllEventsCompleted_AccessDenied, from: from, next: position{-1, -1}}
}

// deniedAll is the page of a user who may not read $all.
func (l *eventLog) deniedAll(from position) allPage {
	p := deniedLink(from)
	if text := l.facts.refusal(); text != nil {
		p.from, p.text = position{-1, -1}, *text
	}
	return p
}

func (l *eventLog) readAllPage(u *user, from position, scan *allScan) allPage {
	bad := func(text string) allPage {
		return allPage{result: esproto.ReadAllEventsCompleted_Error, text: text, from: from, next: position{-1, -1}}
	}
	mayRead := l.allowed(u, rightRead, allStream)
	if !mayRead && l.facts.ReadRightIsFirst {
		return l.deniedAll(from)
	}
	if scan.count > esproto.MaxReadCount {
		return bad("Read size too big, should be less than 4096 items")
	}
	if from == (position{-1, -1}) {
		from = position{l.end, l.end}
	}
	if from.commit < 0 || from.prepare < 0 {
		return bad("Invalid position.")
	}
	if !mayRead {
		return l.deniedAll(from)
	}
	if scan.count > 0 && !l.readable(from, scan.forward) {
		return bad("Invalid position.")
	}
	p := allPage{result: esproto.ReadAllEventsCompleted_Success, from: from}
	p.recs, p.next, p.end = l.scanAll(from, scan)
	return p
}

// readable reports whether a read may begin at a position: where a record begins, or forward behind the last one.
func (l *eventLog) readable(from position, forward bool) bool {
	return forward && from.commit > l.lastCommit || l.begins(from.commit)
}

// scanAll reads the records at and behind a position, or those before it, the last one first. end is true if there were
// no more; whoever stops at the last record has not noticed.
func (l *eventLog) scanAll(from position, scan *allScan) (recs []*record, next position, end bool) {
	i := l.indexFrom(from)
	if !scan.forward {
		i = l.indexBefore(from)
	}
	next = from
	for seen := 0; len(recs) < scan.count && seen < scan.window; seen++ {
		if scan.forward && i == len(l.records) || !scan.forward && i == 0 {
			return recs, next, true
		}
		if !scan.forward {
			i--
		}
		r := l.records[i]
		if !l.hidden(r) && (scan.picks == nil || scan.picks(r)) {
			recs = append(recs, r)
		}
		if next = r.backwards(); scan.forward {
			next = r.afterwards()
			i++
		}
	}
	return recs, next, false
}

// hidden reports whether $all does not show an event: servers keep some of their own to themselves.
func (l *eventLog) hidden(r *record) bool {
	f, name := l.facts, r.stream.name
	switch {
	case !f.HidesEpochs || name == "" || name[0] != '$':
		return false
	case name == epochStream:
		return true
	}
	return f.HasGroupsOnAll && strings.HasPrefix(name, "$persistentsubscription-$all::") &&
		(strings.HasSuffix(name, "-checkpoint") || strings.HasSuffix(name, "-parked"))
}
