package eventlog

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// The events that a new leader writes: its election, and system streams that do not exist yet.
const (
	epochStream = "$epoch-information" // and the type of its events

	scavengesStream   = "$scavenges"
	scavengesInitType = "$scavengeIndexInitialized"
	scavengesMaxAge   = 30 * 24 * time.Hour
)

// Epoch is the time in which one process leads. A single server begins one with each process.
type Epoch struct {
	Number   int
	ID       string
	Position int64 // of its record
}

// noEpoch is the epoch of a log that never had a leader.
var noEpoch = Epoch{Number: -1, Position: -1}

// epochRecord is an epoch as the log has it. Zeros are left out.
type epochRecord struct {
	EpochPosition     int64  `json:"epochPosition,omitempty"`
	EpochNumber       int    `json:"epochNumber,omitempty"`
	EpochID           string `json:"epochId"`
	PrevEpochPosition int64  `json:"prevEpochPosition,omitempty"`
	TimeStamp         string `json:"timeStamp"`
	LeaderInstanceID  string `json:"leaderInstanceId,omitempty"` // from 20.6 on
}

// Lead writes the records that a new leader writes, in a cluster or alone. instance is the id of its process. builtin
// are the users that every new server has.
func (l *Log) Lead(instance string, builtin []*User) {
	l.writeEpoch(instance)
	l.writeOwnStreams(builtin)
}

// writeEpoch writes the record of an epoch, which no client sees, and an event with the same data.
func (l *Log) writeEpoch(instance string) {
	before := l.epoch
	l.epoch = Epoch{Number: before.Number + 1, ID: uuid.NewString(), Position: l.end}
	e := epochRecord{
		EpochPosition: l.end, EpochNumber: l.epoch.Number, EpochID: l.epoch.ID, PrevEpochPosition: before.Position,
		TimeStamp: l.now().UTC().Format("2006-01-02T15:04:05.9999999Z"),
	}
	if l.facts.EpochTellsLeader {
		e.LeaderInstanceID = instance
	}
	data := Indented(e)
	l.takePlace(systemRecordOverhead + len(data))
	if !l.facts.WritesEpochEvents {
		return
	}
	s := l.streamFor(epochStream)
	r := l.newRecord(s, s.Last()+1, &Event{ID: NewGUID(), Type: epochStream, JSON: true, Data: data}, l.ticks())
	l.commit([]*Record{r})
}

// writeOwnStreams writes the built-in users and the stream of scavenges, as far as they are missing, in the order of
// real servers. A new database misses all of them.
func (l *Log) writeOwnStreams(builtin []*User) {
	users := slices.DeleteFunc(builtin, func(u *User) bool { return l.users[u.Login] != nil })
	scavenges := !l.facts.RewritesScavenges && l.lacksScavenges()
	for _, u := range users {
		l.protectUser(u.Login)
		if scavenges {
			l.writeScavenges()
			scavenges = false
		}
	}
	for _, u := range users {
		l.writeUser(u, userCreated)
	}
	for _, u := range users {
		l.listUser(u.Login)
	}
	if scavenges || l.facts.RewritesScavenges {
		l.writeScavenges()
	}
}

// lacksScavenges reports whether the metadata of the stream of scavenges are missing or wrong.
func (l *Log) lacksScavenges() bool {
	s := l.Stream(scavengesStream)
	return s == nil || s.meta.maxAge != scavengesMaxAge || s.meta.acl == nil ||
		!slices.Contains(s.meta.acl[RightRead], Operators)
}

// writeScavenges writes the metadata of the stream of scavenges, and the first event in it.
func (l *Log) writeScavenges() {
	metadata := `{"$maxAge":2592000,"$acl":{"$r":"$ops","$w":[],"$d":[],"$mr":[],"$mw":[]}}`
	if !l.facts.ScavengesAreProtected {
		metadata = `{"$maxAge":2592000}`
	}
	l.SystemWrite("$$"+scavengesStream, MetadataType, true, []byte(metadata), nil)
	if s := l.Stream(scavengesStream); l.facts.ScavengesHaveEvent && (s == nil || s.Last() < 0) {
		l.SystemAppend(scavengesStream, scavengesInitType, true, []byte("{}"), nil)
	}
}

// Indented returns v as JSON in the form of the objects that a server writes.
func Indented(v any) []byte { return IndentedBy("", v) }

// IndentedBy returns v as Indented does, as a part of such an object. All lines but the first begin with prefix.
func IndentedBy(prefix string, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "  ")
	_ = e.Encode(v) // the server's own events can be encoded
	return bytes.TrimRight(b.Bytes(), "\n")
}
