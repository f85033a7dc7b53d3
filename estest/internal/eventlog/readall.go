package eventlog

import (
	"sort"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// IndexFrom returns the index in the log of the first record at or behind p.
func (l *Log) IndexFrom(p Position) int {
	return sort.Search(l.records.Len(), func(i int) bool { return !l.records.At(i).Position().before(p) })
}

// indexBefore returns how many records of the log end at or before p.
func (l *Log) indexBefore(p Position) int {
	return sort.Search(l.records.Len(), func(i int) bool { return p.before(l.records.At(i).ending()) })
}

// AllPage is the result of a read of $all.
type AllPage struct {
	Result  esproto.ReadAllEventsCompleted_ReadAllResult
	Text    string    // why there are no events
	From    Position  // start of the page
	Records []*Record // in the direction of the read
	Next    Position  // the position to read on from
	End     bool      // there is nothing more in that direction at the moment
}

// Scan says which events a read of $all returns.
type Scan struct {
	Picks   func(r *Record) bool // nil for everything
	Forward bool
	Count   int // how many events make a page
	Window  int // how many events are looked at for them
}

// DeniedLink returns the page of a user who may read $all, but must not read the target of a link in it.
func DeniedLink(from Position) AllPage {
	return AllPage{Result: esproto.ReadAllEventsCompleted_AccessDenied, From: from, Next: Position{-1, -1}}
}

// deniedAll returns the page of a user who must not read $all.
func (l *Log) deniedAll(from Position) AllPage {
	p := DeniedLink(from)
	if text := l.facts.RefusalText(); text != nil {
		p.From, p.Text = Position{-1, -1}, *text
	}
	return p
}

// ReadAll reads a page of $all for a user, from a position on. The position -1/-1 is the end.
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

// readable reports whether a read may begin at a position. A record begins there, or the read goes forward from behind
// the last commit.
func (l *Log) readable(from Position, forward bool) bool {
	return forward && from.Commit > l.lastCommit || l.begins(from.Commit)
}

// scanAll reads the records from a position on, forward or backward. end reports whether there are no more. It is
// false for a page that ends with the last record, because the read has not looked further.
func (l *Log) scanAll(from Position, scan *Scan) (recs []*Record, next Position, end bool) {
	i := l.IndexFrom(from)
	if !scan.Forward {
		i = l.indexBefore(from)
	}
	next = from
	for seen := 0; len(recs) < scan.Count && seen < scan.Window; seen++ {
		if scan.Forward && i == l.records.Len() || !scan.Forward && i == 0 {
			return recs, next, true
		}
		if !scan.Forward {
			i--
		}
		r := l.records.At(i)
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

// Hidden reports whether $all does not show an event. Servers hide some events of their own.
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
