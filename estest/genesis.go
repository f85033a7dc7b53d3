package estest

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// What a server writes by itself when it becomes the leader: that it leads, and what it misses of its own streams.
const (
	epochStream = "$epoch-information" // and the type of its events

	scavengesStream   = "$scavenges"
	scavengesInitType = "$scavengeIndexInitialized"
	scavengesMaxAge   = 30 * 24 * time.Hour
)

// epoch is the reign of a leader; a server that is alone begins one with each process.
type epoch struct {
	number   int
	id       string
	position int64 // of its record
}

// noEpoch is what a log has that nobody has led yet.
var noEpoch = epoch{number: -1, position: -1}

// epochRecord is an epoch as the log has it. Zeros are left out.
type epochRecord struct {
	EpochPosition     int64  `json:"epochPosition,omitempty"`
	EpochNumber       int    `json:"epochNumber,omitempty"`
	EpochID           string `json:"epochId"`
	PrevEpochPosition int64  `json:"prevEpochPosition,omitempty"`
	TimeStamp         string `json:"timeStamp"`
	LeaderInstanceID  string `json:"leaderInstanceId,omitempty"` // from 20.6 on
}

// leads is what a server does that becomes the leader, of a cluster or alone. With cfg it adds the users that the
// options ask for.
func (c *core) leads(cfg *config) {
	c.writeEpoch()
	c.writeOwnStreams()
	if cfg != nil {
		for _, u := range cfg.users {
			c.addUser(*u)
		}
	}
	c.projector.start()
}

// writeEpoch writes the record of an epoch, which no client sees, and an event that says the same.
func (c *core) writeEpoch() {
	before := c.epoch
	c.epoch = epoch{number: before.number + 1, id: uuid.NewString(), position: c.end}
	e := epochRecord{
		EpochPosition: c.end, EpochNumber: c.epoch.number, EpochID: c.epoch.id, PrevEpochPosition: before.position,
		TimeStamp: c.now().UTC().Format("2006-01-02T15:04:05.9999999Z"),
	}
	if c.persona.epochTellsLeader {
		e.LeaderInstanceID = c.instance
	}
	data := indented(e)
	c.takePlace(systemRecordOverhead + len(data))
	if !c.persona.writesEpochEvents {
		return
	}
	s := c.streamFor(epochStream)
	r := c.newRecord(s, s.last()+1, &event{id: newGUID(), typ: epochStream, json: true, data: data}, c.ticks())
	c.commit([]*record{r})
}

// writeOwnStreams writes what is missing of the built-in users and of the stream of scavenges, in the order in which a
// server comes to write it. A new database misses everything.
func (c *core) writeOwnStreams() {
	users := slices.DeleteFunc(builtinUsers(), func(u *user) bool { return c.insecure || c.users[u.login] != nil })
	scavenges := !c.persona.rewritesScavenges && c.lacksScavenges()
	for _, u := range users {
		c.protectUser(u.login)
		if scavenges {
			c.writeScavenges()
			scavenges = false
		}
	}
	for _, u := range users {
		c.writeUser(u, userCreated)
	}
	for _, u := range users {
		c.listUser(u.login)
	}
	if scavenges || c.persona.rewritesScavenges {
		c.writeScavenges()
	}
}

// lacksScavenges reports whether the stream of scavenges is not as the server wants it.
func (c *core) lacksScavenges() bool {
	s := c.stream(scavengesStream)
	return s == nil || s.meta.maxAge != scavengesMaxAge || s.meta.acl == nil ||
		!slices.Contains(s.meta.acl[rightRead], groupOps)
}

// writeScavenges writes the metadata of the stream of scavenges, and the first event in it.
func (c *core) writeScavenges() {
	metadata := `{"$maxAge":2592000,"$acl":{"$r":"$ops","$w":[],"$d":[],"$mr":[],"$mw":[]}}`
	if !c.persona.scavengesAreProtected {
		metadata = `{"$maxAge":2592000}`
	}
	c.systemWrite("$$"+scavengesStream, metadataType, true, []byte(metadata), nil)
	if s := c.stream(scavengesStream); c.persona.scavengesHaveEvent && (s == nil || s.last() < 0) {
		c.systemAppend(scavengesStream, scavengesInitType, true, []byte("{}"), nil)
	}
}

// indented returns v as JSON in the form in which a server writes objects of its own.
func indented(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // what the server writes can be encoded
	return bytes.TrimRight(b.Bytes(), "\n")
}
