package eventlog

import (
	"sort"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Position is a place in the log.
type Position struct{ Commit, Prepare int64 }

func (p Position) before(q Position) bool {
	return p.Commit < q.Commit || p.Commit == q.Commit && p.Prepare < q.Prepare
}

// Position returns where a record is.
func (r *Record) Position() Position { return Position{r.Commit, r.Prepare} }

// afterwards is the position to read on from behind a record: in a transaction within its commit, else behind the
// record.
func (r *Record) afterwards() Position {
	if r.Commit != r.Prepare {
		return Position{r.Commit, r.Prepare + r.size()}
	}
	return Position{r.Commit + r.size(), 0}
}

// backwards is the position to read backward from to what is before a record.
func (r *Record) backwards() Position {
	if r.Commit != r.Prepare {
		return Position{r.Commit + commitRecordSize, r.Prepare}
	}
	return r.Position()
}

// ending is the first position from which a record is read backward.
func (r *Record) ending() Position {
	if r.Commit != r.Prepare {
		return Position{r.Commit + commitRecordSize, r.Prepare + r.size()}
	}
	return Position{r.Commit + r.size(), r.Commit + r.size()}
}

// IndexFrom returns the index in the log of the first record at or behind p.
func (l *Log) IndexFrom(p Position) int {
	return sort.Search(len(l.records), func(i int) bool { return !l.records[i].Position().before(p) })
}

// indexBefore returns how many records of the log end at or before p.
func (l *Log) indexBefore(p Position) int {
	return sort.Search(len(l.records), func(i int) bool { return p.before(l.records[i].ending()) })
}

// AllPage is the result of a read of $all.
type AllPage struct {
	Result  esproto.ReadAllEventsCompleted_ReadAllResult
	Text    string
	From    Position
	Records []*Record
	Next    Position
	End     bool
}

// Scan is what a read of $all looks for, and for how long.
type Scan struct {
	Picks   func(r *Record) bool // nil for everything
	Forward bool
	Count   int // how many events make a page
	Window  int // how many events are looked at for them
}

// DeniedLink is the page of a user who may read $all, but not a stream that a link in it leads to.
func DeniedLink(from Position) AllPage {
	return AllPage{Result: esproto.ReadAllEventsCompleted_AccessDenied, From: from, Next: Position{-1, -1}}
}

// deniedAll is the page of a user who may not read $all.
func (l *Log) deniedAll(from Position) AllPage {
	p := DeniedLink(from)
	if text := l.facts.RefusalText(); text != nil {
		p.From, p.Text = Position{-1, -1}, *text
	}
	return p
}

// ReadAll reads a page of the log from a position on for a user. The position -1/-1 is the end.
func (l *Log) ReadAll(u *User, from Position, scan *Scan) AllPage {
	bad := func(text string) AllPage {
		return AllPage{Result: esproto.ReadAllEventsCompleted_Error, Text: text, From: from, Next: Position{-1, -1}}
	}
	mayRead := l.Allowed(u, RightRead, AllStream)
	if !mayRead && l.facts.ReadRightIsFirst {
		return l.deniedAll(from)
	}
	if scan.Count > esproto.MaxReadCount {
		return bad("Read size too big, should be less than 4096 items")
	}
	if from == (Position{-1, -1}) {
		from = Position{l.end, l.end}
	}
	if from.Commit < 0 || from.Prepare < 0 {
		return bad("Invalid position.")
	}
	if !mayRead {
		return l.deniedAll(from)
	}
	if scan.Count > 0 && !l.readable(from, scan.Forward) {
		return bad("Invalid position.")
	}
	p := AllPage{Result: esproto.ReadAllEventsCompleted_Success, From: from}
	p.Records, p.Next, p.End = l.scanAll(from, scan)
	return p
}

// readable reports whether a read may begin at a position: where a record begins, or forward behind the last one.
func (l *Log) readable(from Position, forward bool) bool {
	return forward && from.Commit > l.lastCommit || l.begins(from.Commit)
}

// scanAll reads the records at and behind a position, or those before it, the last one first. end is true if there were
// no more; whoever stops at the last record has not noticed.
func (l *Log) scanAll(from Position, scan *Scan) (recs []*Record, next Position, end bool) {
	i := l.IndexFrom(from)
	if !scan.Forward {
		i = l.indexBefore(from)
	}
	next = from
	for seen := 0; len(recs) < scan.Count && seen < scan.Window; seen++ {
		if scan.Forward && i == len(l.records) || !scan.Forward && i == 0 {
			return recs, next, true
		}
		if !scan.Forward {
			i--
		}
		r := l.records[i]
		if !l.Hidden(r) && (scan.Picks == nil || scan.Picks(r)) {
			recs = append(recs, r)
		}
		if next = r.backwards(); scan.Forward {
			next = r.afterwards()
			i++
		}
	}
	return recs, next, false
}

// Hidden reports whether $all does not show an event: servers keep some of their own to themselves.
func (l *Log) Hidden(r *Record) bool {
	f, name := l.facts, r.Stream.Name
	switch {
	case !f.HidesEpochs || name == "" || name[0] != '$':
		return false
	case name == epochStream:
		return true
	}
	return f.HasGroupsOnAll && strings.HasPrefix(name, "$persistentsubscription-$all::") &&
		(strings.HasSuffix(name, "-checkpoint") || strings.HasSuffix(name, "-parked"))
}
